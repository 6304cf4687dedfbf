/** One tooltip for many things: what is under the mouse, or has the focus, says itself, by ``data-tip``. */
import { type FocusEvent, type PointerEvent, useCallback, useMemo, useState } from "react";

const WIDTH = 330;

export function useTip() {
  const [tip, setTip] = useState<{ text: string; x: number; y: number } | null>(null);
  const show = useCallback((target: EventTarget, x?: number, y?: number) => {
    const found = (target as Element).closest("[data-tip]");
    const text = found?.getAttribute("data-tip");
    const box = found?.getBoundingClientRect();
    setTip(text && box ? { text, x: x ?? box.left, y: y ?? box.bottom } : null);
  }, []);
  const handlers = useMemo(
    () => ({
      onPointerMove: (event: PointerEvent) => show(event.target, event.clientX, event.clientY),
      onPointerLeave: () => setTip(null),
      onFocus: (event: FocusEvent) => {
        if (event.target.matches(":focus-visible")) show(event.target);
      },
      onBlur: () => setTip(null),
    }),
    [show],
  );
  const shown = tip && (
    <div
      role="tooltip"
      className="tip"
      style={{ left: Math.max(4, Math.min(tip.x + 12, window.innerWidth - WIDTH)), top: tip.y + 16 }}
    >
      {tip.text}
    </div>
  );
  return { handlers, shown };
}
