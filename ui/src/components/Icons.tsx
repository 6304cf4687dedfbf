/** Line icons, 24 units wide. They are ornaments: the words beside them say the same. */
import type { ReactNode, SVGProps } from "react";

const PATHS = {
  check: <path d="M4 12.5l5 5L20 6.5" />,
  cross: <path d="M6 6l12 12M18 6L6 18" />,
  clock: (
    <>
      <circle cx="12" cy="12" r="9" />
      <path d="M12 7v5l3.5 2" />
    </>
  ),
  spin: <path d="M12 3a9 9 0 1 0 9 9" />,
  dash: <path d="M6 12h12" />,
  stop: <rect x="6" y="6" width="12" height="12" rx="1" />,
  again: <path d="M4 12a8 8 0 1 1 2.6 5.9M4 12V6M4 12h6" />,
  runs: <path d="M8 5v14l11-7z" />,
  jobs: (
    <>
      <circle cx="6" cy="6" r="2.5" />
      <circle cx="6" cy="18" r="2.5" />
      <circle cx="18" cy="12" r="2.5" />
      <path d="M8.3 7.2l7.4 3.7M8.3 16.8l7.4-3.7" />
    </>
  ),
  overview: <path d="M4 5h10M4 10h16M8 15h12M4 20h7" />,
  automation: <path d="M13 3L5 14h6l-1 7 8-11h-6z" />,
  backfills: <path d="M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z" />,
  workers: <path d="M4 5h16v5H4zM4 14h16v5H4zM7.5 7.5h.01M7.5 16.5h.01" />,
  deployment: <path d="M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9" />,
  search: (
    <>
      <circle cx="11" cy="11" r="6.5" />
      <path d="M16 16l4.5 4.5" />
    </>
  ),
  sun: (
    <>
      <circle cx="12" cy="12" r="4" />
      <path d="M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2" />
    </>
  ),
  moon: <path d="M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z" />,
  keyboard: <path d="M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M17 14h.01M7 14h7" />,
  right: <path d="M9 5l7 7-7 7" />,
  down: <path d="M5 9l7 7 7-7" />,
  external: <path d="M14 4h6v6M20 4l-9 9M18 14v6H4V6h6" />,
  trash: <path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13" />,
  warning: <path d="M12 3l10 18H2zM12 10v5M12 18h.01" />,
  graph: <path d="M5 4h6v5H5zM13 15h6v5h-6zM8 9v8h5" />,
  download: <path d="M12 4v11M7 11l5 5 5-5M4 20h16" />,
} satisfies Record<string, ReactNode>;

export type IconName = keyof typeof PATHS;

export function Icon({ name, ...rest }: { name: IconName } & SVGProps<SVGSVGElement>) {
  return (
    <svg
      viewBox="0 0 24 24"
      width="16"
      height="16"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
      {...rest}
    >
      {PATHS[name]}
    </svg>
  );
}
