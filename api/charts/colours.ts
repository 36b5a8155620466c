/**
 * Defines the colours of all charts as custom properties that a page sets for light and dark mode, with defaults for files. A shape, a
 * position or a word repeats the meaning of each colour.
 */
const colour = (name: string, alone: string): string => `var(--chart-${name}, ${alone})`

export const colours = {
  good: colour('good', '#1a7f4b'),
  neutral: colour('neutral', '#57606a'),
  bad: colour('bad', '#c2341d'),
  warn: colour('warn', '#a66300'),
  /** The subject of a chart, and its reference. */
  main: colour('main', '#2563c9'),
  other: colour('other', '#8a6bbf'),
  line: colour('line', '#8b949e'),
} as const

/** Replaces custom properties by their defaults, because SVG readers other than browsers do not support them. */
export const standAlone = (svg: string): string => svg.replace(/var\(--chart-[a-z]+, (#[0-9a-f]{6})\)/g, '$1')
