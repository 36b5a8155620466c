/**
 * The colours of all charts, as custom properties that a page sets for light and for dark. Each has a value of its own for
 * the drawing that stands alone in a file. Colour never carries a meaning alone: shape, place or word say it as well.
 */
const colour = (name: string, alone: string): string => `var(--chart-${name}, ${alone})`

export const colours = {
  good: colour('good', '#1a7f4b'),
  neutral: colour('neutral', '#57606a'),
  bad: colour('bad', '#c2341d'),
  warn: colour('warn', '#a66300'),
  /** What is looked at, and what it is compared with. */
  main: colour('main', '#2563c9'),
  other: colour('other', '#8a6bbf'),
  line: colour('line', '#8b949e'),
} as const

/** For a file: readers other than browsers know no custom properties. */
export const standAlone = (svg: string): string => svg.replace(/var\(--chart-[a-z]+, (#[0-9a-f]{6})\)/g, '$1')
