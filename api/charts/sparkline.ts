/** Draws a row of numbers as block characters, one a number. */
import { finiteOrNull } from './figures.ts'

const blocks = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const

/** The newest numbers that fit; `·` stands for a missing one. */
export function sparkline(
  values: readonly (number | null)[],
  { width = 40 }: { width?: number } = {},
): string {
  const shown = values.slice(-Math.max(1, width)).map(finiteOrNull)
  const known = shown.filter((value) => value !== null)
  const [low, high] = [Math.min(...known), Math.max(...known)]
  return shown
    .map((value) => {
      if (value === null) return '·'
      const place = high === low ? 0.5 : (value - low) / (high - low)
      return blocks[Math.min(blocks.length - 1, Math.floor(place * blocks.length))]
    })
    .join('')
}

/** A share as a bar of fixed width in eighths of a character: 0.5 of 8 is `████    `. */
export function barText(share: number | null, width: number): string {
  const known = Math.min(1, Math.max(0, finiteOrNull(share) ?? 0))
  const eighths = Math.round(known * width * 8)
  const rest = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8]!
  const bar = '█'.repeat(Math.floor(eighths / 8)) + rest
  return bar + ' '.repeat(Math.max(0, width - Math.floor(eighths / 8) - (rest === '' ? 0 : 1)))
}
