/** Rows that are one stop of the Tab key, however many there are. */
import type { Virtualizer } from "@tanstack/react-virtual";
import { type FocusEvent, type KeyboardEvent, type RefObject, useEffect, useRef, useState } from "react";

/** Where keys lead to. */
const MOVES: Record<string, (at: number, count: number) => number> = {
  ArrowDown: (at) => at + 1,
  ArrowUp: (at) => at - 1,
  PageDown: (at) => at + 15,
  PageUp: (at) => at - 15,
  Home: () => 0,
  End: (_, count) => count - 1,
};
const ASIDE: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1 };

/** `name` is the class of buttons that keys lead to. Where a row has several, → and ← go from one to the next. */
export function useRows(
  scroller: RefObject<HTMLElement | null>,
  virtual: Virtualizer<HTMLDivElement, Element>,
  count: number,
  name: string,
): { stop: number | undefined; onKeyDown: (event: KeyboardEvent) => void; onFocus: (event: FocusEvent) => void } {
  const [at, setAt] = useState(0);
  const entry = Math.min(at, count - 1);
  const wanted = useRef<number>(undefined);
  const nameOf = (place: number) => scroller.current?.querySelector<HTMLElement>(`[data-index="${place}"] .${name}`);
  const besideOf = (from: HTMLElement, aside: number) => {
    const all = [...(from.closest("[data-index]")?.querySelectorAll<HTMLElement>(`.${name}`) ?? [])];
    return all[all.indexOf(from) + aside];
  };
  const moveTo = (place: number) => {
    const to = Math.max(0, Math.min(place, count - 1));
    setAt(to);
    virtual.scrollToIndex(to);
    const there = nameOf(to);
    wanted.current = there ? undefined : to;
    there?.focus({ preventScroll: true });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const from = event.target as HTMLElement;
    if (!from.matches(`.${name}`)) return;
    const to = MOVES[event.key]?.(entry, count);
    const beside = besideOf(from, ASIDE[event.key] ?? 0);
    if (to === undefined && (!beside || beside === from)) return; // → and ← scroll
    event.preventDefault();
    if (to === undefined) beside?.focus();
    else moveTo(to);
  };
  const onFocus = (event: FocusEvent) => {
    const row = event.target.closest<HTMLElement>("[data-index]");
    if (row) setAt(Number(row.dataset.index));
  };
  useEffect(() => {
    // The row that is gone to may come to be there later, unless somebody has gone elsewhere meanwhile.
    const active = document.activeElement;
    if (active !== document.body && !scroller.current?.contains(active)) wanted.current = undefined;
    if (wanted.current === undefined) return;
    const found = nameOf(wanted.current);
    if (!found) return;
    wanted.current = undefined;
    found.focus({ preventScroll: true });
  });
  const isShown = virtual.getVirtualItems().some((item) => item.index === entry);
  return { stop: isShown ? entry : virtual.range?.startIndex, onKeyDown, onFocus };
}
