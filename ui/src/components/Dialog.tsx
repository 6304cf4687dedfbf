/** A dialog that gives the focus back to where it was, also to the button of a menu, and to one that had to wait. */
import { Modal, type ModalProps } from "@mantine/core";
import { useLayoutEffect, useRef } from "react";

let last: Element | null = null;
document.addEventListener("focusin", (event) => {
  if (event.target instanceof Element && !event.target.closest('[role="dialog"]')) last = event.target;
});

/** What opens a dialog now. A choice in a menu goes with its menu; a button that waits for an answer has no focus. */
function opener(): HTMLElement | null {
  const menu = last?.closest('[role="menu"]');
  const found = menu ? document.getElementById(menu.getAttribute("aria-labelledby") ?? "") : last;
  return found instanceof HTMLElement ? found : null;
}

export function Dialog({ opened, children, ...rest }: ModalProps) {
  const from = useRef<HTMLElement | null>(null);
  useLayoutEffect(() => {
    if (opened) from.current = opener();
  }, [opened]);
  const giveBack = () => {
    const active = document.activeElement;
    if (active === document.body || active?.closest('[role="dialog"]')) from.current?.focus({ preventScroll: true });
  };
  return (
    <Modal
      opened={opened}
      returnFocus={false}
      onExitTransitionEnd={giveBack}
      closeButtonProps={{ "aria-label": "Close" }}
      {...rest}
    >
      {children}
    </Modal>
  );
}
