/**
 * Formats the measurements as tables. A ratio is the median of the ratios within each rotation, because rates of different minutes are
 * not comparable on a shared machine.
 */
import { figureTable, sumBy, roundedNumber } from '../../../test/support/figures.ts'
import {
  barCells,
  bars,
  cells,
  product,
  slowest,
  type ServingCell,
  type Measurement,
  type CellSlice,
} from './cells.ts'

const ms = (us: number): string => (us / 1_000).toFixed(us < 10_000 ? 2 : 0)
const ratio = (value: number): string => value.toFixed(value < 10 ? 2 : 0)

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const spread = (values: readonly number[], text: (value: number) => string): string =>
  [Math.min(...values), median(values), Math.max(...values)].map(text).join(' / ')

const nameOf = ({ model, rows, c }: ServingCell): string =>
  `${model} × ${rows}, ${c} connection${c === 1 ? '' : 's'}`

type Kind = 'rps' | 'p50_us' | 'p99_us'

const foundOf = (all: readonly Measurement[], cell: ServingCell, peer: string): Measurement[] =>
  all.filter(
    (each) => each.peer === peer && each.model === cell.model && each.rows === cell.rows && each.c === cell.c,
  )

/** Ratios of the product to a peer, one per common rotation. */
function ratios(all: readonly Measurement[], cell: ServingCell, peer: string, kind: Kind): number[] {
  const others = foundOf(all, cell, peer)
  return foundOf(all, cell, product).flatMap((own) => {
    const other = others.find(({ slice, round }) => slice === own.slice && round === own.round)
    return other === undefined || other[kind] === 0 ? [] : [own[kind] / other[kind]]
  })
}

export function cellTables(all: readonly Measurement[]): string {
  return cells
    .map((cell) => {
      const peers = [...new Set(all.map(({ peer }) => peer))].filter(
        (peer) => foundOf(all, cell, peer).length > 0,
      )
      if (!peers.includes(product)) return ''
      const rate = (peer: string): number => median(foundOf(all, cell, peer).map(({ rps }) => rps))
      const lines = peers
        .sort((a, b) => rate(b) - rate(a))
        .map((peer) => {
          const found = foundOf(all, cell, peer)
          return [
            peer === product ? `**${peer}**` : peer,
            spread(
              found.map(({ rps }) => rps),
              roundedNumber,
            ),
            peer === product ? '' : spread(ratios(all, cell, peer, 'rps'), ratio),
            ms(median(found.map(({ p50_us }) => p50_us))),
            ms(median(found.map(({ p99_us }) => p99_us))),
            String(Math.max(...found.map(({ rss }) => rss))),
            String(sumBy(found, ({ errors }) => Math.max(0, errors))),
          ]
        })
      return [
        `### ${nameOf(cell)}`,
        '',
        ...figureTable(
          ['server', 'requests/s', `${product} is ×`, 'p50 ms', 'p99 ms', 'MB', 'errors'],
          lines,
        ),
        '',
      ].join('\n')
    })
    .filter((text) => text !== '')
    .join('\n')
}

export function barTable(all: readonly Measurement[]): string {
  const lines = bars.flatMap(({ peers, least }) => {
    const measured = peers.filter((peer) => all.some((each) => each.peer === peer))
    if (measured.length === 0) return []
    const marks = barCells.map((cell, index) => {
      const reached = measured.map((peer) => ratios(all, cell, peer, 'rps')).filter((each) => each.length > 0)
      // The best setting of a server.
      return told(Math.min(...reached.map(median)), '≥', least[index]!)
    })
    return [[measured.join(', '), ...marks]]
  })
  const within = (cell: ServingCell, kind: Kind, most: number): string => {
    const found = ratios(all, cell, 'hono-echo', kind)
    return told(found.length === 0 ? Infinity : median(found), '≤', most)
  }
  const alone = { ...barCells[0]!, c: 1 }
  const mb = Math.max(0, ...all.filter(({ peer }) => peer === product).map(({ rss }) => rss))
  return [
    ...figureTable(
      ['requests/s beside', ...barCells.map(nameOf)],
      [
        ...lines,
        ['p99 beside hono-echo', ...barCells.map((cell, index) => within(cell, 'p99_us', slowest[index]!))],
      ],
    ),
    '',
    `p50 of one row on one connection beside hono-echo: ${within(alone, 'p50_us', 1.25)}. Resident memory at most: ${told(mb, '≤', 150)} MB.`,
  ].join('\n')
}

function told(value: number, sign: '≥' | '≤', bar: number): string {
  if (!Number.isFinite(value)) return '–'
  const isReached = sign === '≥' ? value >= bar : value <= bar
  return `${isReached ? '✓' : '✗'} ${ratio(value)} (${sign} ${bar})`
}

/** Rates of the other modes of the product relative to the default. */
export function wayTable(all: readonly Measurement[]): string {
  const ways = [...new Set(all.map(({ peer }) => peer))].filter((peer) => peer.startsWith(`${product}-`))
  if (ways.length === 0) return ''
  const lines = ways.map((way) => [
    wayNames[way] ?? way,
    ...barCells.map((cell) => {
      const found = ratios(all, cell, way, 'rps').map((value) => 1 / value)
      return found.length === 0 ? '–' : spread(found, ratio)
    }),
  ])
  return [...figureTable(['of one process, best effort', ...barCells.map(nameOf)], lines), ''].join('\n')
}

const wayNames: Record<string, string> = {
  [`${product}-two`]: 'two processes on one port (≥ 1.3)',
  [`${product}-durable`]: 'answered when the log row is committed',
}

/** Share of the request time that the bare HTTP server would take. */
export function floorShares(all: readonly Measurement[]): string[] {
  return barCells.flatMap((cell) => {
    const rates = (peer: string): number[] => foundOf(all, cell, peer).map(({ rps }) => rps)
    const [own, bare] = [rates(product), rates('raw-echo')]
    return own.length === 0 || bare.length === 0
      ? []
      : [
          `- ${nameOf(cell)}: ${ms(1e6 / median(own))} ms of the process a request, where a bare node:http server that parses and sends the body back takes ${ms(1e6 / median(bare))} ms.`,
        ]
  })
}

export function pageOf(slices: readonly CellSlice[], all: readonly Measurement[], command: string): string {
  const first = slices[0]!
  const sum = (state: string): number => sumBy(slices, ({ logged }) => logged[state] ?? 0)
  const served = sum('served')
  const share = (part: number): string => `${((100 * part) / Math.max(1, served)).toFixed(2)} %`
  const busy = all.filter(({ others }) => others > 0.2).length
  const versions = Object.assign({}, ...slices.map((each) => each.versions)) as Record<string, string>
  const lines = [
    '# Serving beside others',
    '',
    `Made by \`${command}\` in ${slices.length} run${slices.length === 1 ? '' : 's'} between ${slices[0]!.slice} and ${slices.at(-1)!.slice}, on ${first.machine}, Node ${first.node}, load by ${first.generator}, ${first.seconds} s a measurement.`,
    'The benchmark compares single processes. Load generator, servers and Postgres share the machine. Every server serves the same two networks, *iris* and',
    '*wide*, over the Open Inference Protocol or in its own JSON format. The echo servers parse the body and send it back. Tenure runs with everything on:',
    'it checks a key, chooses an arm, counts, measures latency, and writes every request to the prediction log in best-effort mode. The servers take',
    'turns within seconds, and each ratio is the median of the ratios within a turn. Three numbers are the lowest, the median and the highest.',
    '',
    `The load average was ${spread(
      slices.map(({ loadBefore }) => loadBefore),
      (value) => value.toFixed(1),
    )} before the runs${busy > 0 ? `, and in ${busy} of ${all.length} measurements other processes used more than a fifth of a core` : ''}.`,
    `Of the log rows of ${roundedNumber(served)} answered requests, ${share(sum('stored'))} are in Postgres; ${share(sum('dropped'))} were dropped because the log was full, and counted.`,
    `Tenure was ready ${spread(
      slices.map(({ coldMs }) => coldMs),
      String,
    )} ms after its start with a cached artifact (≤ 400). Its resident memory was then ${spread(
      slices.map(({ restRss }) => restRss),
      String,
    )} MB.`,
    '',
    '## Targets',
    '',
    barTable(all),
    '',
    wayTable(all),
    '## Processor time of a request',
    '',
    ...floorShares(all),
    '',
    '`npm run bench -- overload` measures [overload and slow clients](overload.md).',
    '',
    '## Every cell',
    '',
    cellTables(all),
    '## Versions',
    '',
    ...Object.entries(versions).map(([name, version]) => `- ${name} ${version}`),
  ]
  return `${lines.join('\n').trimEnd()}\n`
}
