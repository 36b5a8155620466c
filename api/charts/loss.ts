/** Draws the training loss per epoch. */
import { epochAxis, figureAxis } from './axis.ts'
import { colours } from './colours.ts'
import { figureText, finiteOrNull } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace } from './render.ts'
import { thin } from './thin.ts'

export interface Epoch {
  epoch: number
  loss: number
  /** Loss on held-out rows, where the model file defines it. */
  validationLoss?: number
}

const readable = (curve: readonly Epoch[]) =>
  curve.filter(({ epoch, loss }) => Number.isFinite(epoch) && finiteOrNull(loss) !== null)

function described(curve: readonly Epoch[]): string {
  const [first, last] = [curve[0]!, curve.at(-1)!]
  if (curve.length === 1) return `After one epoch the loss was ${figureText(first.loss)}.`
  const lowest = curve.reduce((best, each) => (each.loss < best.loss ? each : best))
  return `Over ${curve.length} epochs the loss went from ${figureText(first.loss)} to ${figureText(last.loss)}; it was lowest, ${figureText(lowest.loss)}, after epoch ${lowest.epoch}.`
}

export async function lossSvg(given: readonly Epoch[], frame: ChartPlace): Promise<string> {
  const known = readable(given)
  if (known.length === 0) return drawEmptyChart(frame, 'No epochs yet')
  const full = { ...frame, description: described(known) }
  const curve = thin(known, ({ loss }) => loss)
  const held = curve.filter(({ validationLoss }) => finiteOrNull(validationLoss) !== null)
  const last = curve.at(-1)!
  return drawChart(full, (plot) => ({
    height: isNarrow(full) ? 180 : 220,
    marginLeft: 52,
    marginRight: 84,
    marginBottom: 34,
    x: epochAxis(Math.min(8, known.length)),
    y: figureAxis('loss'),
    marks: [
      held.length === 0
        ? null
        : plot.lineY(held, {
            x: 'epoch',
            y: 'validationLoss',
            stroke: colours.other,
            strokeDasharray: '4,3',
            strokeWidth: 1.75,
          }),
      plot.lineY(curve, { x: 'epoch', y: 'loss', stroke: colours.main, strokeWidth: 2 }),
      curve.length > 60
        ? null
        : plot.dot(curve, {
            x: 'epoch',
            y: 'loss',
            r: 2.5,
            fill: colours.main,
            title: ({ epoch, loss }: Epoch) => `epoch ${epoch}: ${figureText(loss)}`,
          }),
      plot.text([last], {
        x: 'epoch',
        y: 'loss',
        text: ({ loss }: Epoch) => figureText(loss),
        dx: 8,
        textAnchor: 'start',
        fontWeight: 'bold',
      }),
    ],
  }))
}

const rows = 6

/** The chart for a terminal, in block characters, which every font has. */
export function lossText(given: readonly Epoch[], { width = 60 }: { width?: number } = {}): string {
  const known = readable(given)
  if (known.length === 0) return 'No epochs yet'
  const curve = thin(known, ({ loss }) => loss, Math.max(4, 4 * width))
  const [low, high] = [Math.min(...curve.map(({ loss }) => loss)), Math.max(...curve.map(({ loss }) => loss))]
  const cells = Math.max(1, Math.min(width - 10, Math.max(curve.length * 4, 12)))
  const levels = Array.from({ length: cells }, (_, x) => {
    const { loss } = curve[Math.min(curve.length - 1, Math.floor((x * curve.length) / cells))]!
    return high === low ? 0.5 : (loss - low) / (high - low)
  })
  const eighths = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const
  const lines = Array.from({ length: rows }, (_, i) => {
    const bottom = rows - 1 - i
    const drawn = levels
      .map((level) => {
        // The lowest point keeps one eighth of a block, so that it is visible.
        const within = Math.max(1, Math.round(level * rows * 8)) - bottom * 8
        return within <= 0 ? ' ' : eighths[Math.min(8, within) - 1]!
      })
      .join('')
    const label = i === 0 ? figureText(high) : i === rows - 1 ? figureText(low) : ''
    return `${label.padStart(8)} ${bottom === 0 ? '└' : '│'}${drawn.trimEnd()}`
  })
  const [first, last] = [known[0]!, known.at(-1)!]
  const axis = known.length === 1 ? `epoch ${first.epoch}` : `epoch ${first.epoch} to ${last.epoch}`
  return [
    ...lines,
    `${' '.repeat(10)}${axis}; loss ${figureText(first.loss)} → ${figureText(last.loss)}`,
  ].join('\n')
}
