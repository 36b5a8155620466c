/** The measurements as tables: every server's lowest, median and highest round, and how the product stands beside it. */
import { barCells, bars, product, slowest, type Cell, type Measurement } from './cells.ts'

const row = (values: readonly string[]): string => `| ${values.join(' | ')} |`
const thousands = (value: number): string => Math.round(value).toLocaleString('en-US')
const ms = (us: number): string => (us / 1_000).toFixed(us < 10_000 ? 2 : 0)
const ratio = (value: number): string => value.toFixed(value < 10 ? 2 : 0)

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const nameOf = ({ model, rows, c }: Cell): string =>
  `${model} × ${rows}, ${c} connection${c === 1 ? '' : 's'}`
const isIn = (cell: Cell) => (each: Cell) =>
  each.model === cell.model && each.rows === cell.rows && each.c === cell.c

/** Requests a second of a server in a cell, the median of its rounds. */
function rateOf(all: readonly Measurement[], peer: string, cell: Cell): number | undefined {
  const found = all.filter((each) => each.peer === peer).filter(isIn(cell))
  return found.length === 0 ? undefined : median(found.map(({ rps }) => rps))
}

export function cellTables(all: readonly Measurement[], cells: readonly Cell[]): string {
  return cells
    .map((cell) => {
      const here = all.filter(isIn(cell))
      const own = rateOf(all, product, cell)
      const peers = [...new Set(here.map(({ peer }) => peer))]
      if (own === undefined || peers.length === 0) return ''
      const lines = peers
        .map((peer) => ({ peer, found: here.filter((each) => each.peer === peer) }))
        .sort((a, b) => median(b.found.map(({ rps }) => rps)) - median(a.found.map(({ rps }) => rps)))
        .map(({ peer, found }) => {
          const rates = found.map(({ rps }) => rps)
          const errors = found.reduce((sum, each) => sum + Math.max(0, each.errors), 0)
          return row([
            peer === product ? `**${peer}**` : peer,
            [Math.min(...rates), median(rates), Math.max(...rates)].map(thousands).join(' / '),
            ratio(own / median(rates)),
            ms(median(found.map(({ p50_us }) => p50_us))),
            ms(median(found.map(({ p99_us }) => p99_us))),
            String(errors),
          ])
        })
      return [
        `### ${nameOf(cell)}`,
        '',
        row(['server', 'requests/s min / median / max', `${product} is ×`, 'p50 ms', 'p99 ms', 'errors']),
        row(['---', '--:', '--:', '--:', '--:', '--:']),
        ...lines,
        '',
      ].join('\n')
    })
    .join('\n')
}

export function barTable(all: readonly Measurement[]): string {
  const lines = bars.flatMap(({ peers, least }) => {
    const measured = peers.filter((peer) => all.some((each) => each.peer === peer))
    if (measured.length === 0) return []
    const marks = barCells.map((cell, index) => {
      const best = Math.max(...measured.map((peer) => rateOf(all, peer, cell) ?? NaN))
      const reached = (rateOf(all, product, cell) ?? NaN) / best
      return `${mark(reached >= least[index]!)} ${ratio(reached)} (≥ ${least[index]})`
    })
    return [row([measured.join(', '), ...marks])]
  })
  const tails = barCells.map((cell, index) => {
    const of = (peer: string) =>
      median(
        all
          .filter((each) => each.peer === peer)
          .filter(isIn(cell))
          .map(({ p99_us }) => p99_us),
      )
    const reached = of(product) / of('hono-echo')
    return `${mark(reached <= slowest[index]!)} ${ratio(reached)} (≤ ${slowest[index]})`
  })
  return [
    row(['beside', ...barCells.map(nameOf)]),
    row(['---', ...barCells.map(() => '--:')]),
    ...lines,
    row(['p99 beside hono-echo', ...tails]),
  ].join('\n')
}

const mark = (reached: boolean): string => (reached ? '✓' : '✗')

/** How much of a request's time the bare HTTP server alone would take. */
export function floorShares(all: readonly Measurement[]): string[] {
  return barCells.flatMap((cell) => {
    const own = rateOf(all, product, cell)
    const bare = rateOf(all, 'raw-echo', cell)
    return own === undefined || bare === undefined
      ? []
      : [
          `- ${nameOf(cell)}: ${ms(1e6 / own)} ms of the process a request, where a bare node:http server that parses and sends the body back takes ${ms(1e6 / bare)} ms.`,
        ]
  })
}
