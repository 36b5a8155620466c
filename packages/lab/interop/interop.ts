/**
 * Measures the cost of protocols other than HTTP, and of tracing, and writes packages/lab/interop/interop.md. `npm run bench -- interop [--parts
 * grpc,streams,tracing] [--rounds 5] [--draws 4] [--records 100000] [--out FILE]`; the sections of other parts stay as they are.
 */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { irisSpec } from '../../../test/support/serving/artifact.ts'
import { startCollector } from '../../../test/support/tracing/collector.ts'
import { openDatabase, prepareServing } from '../../../test/support/servers/private-database.ts'
import { figureTable, machine, quantileOf, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { measureLoops, type LoopRate, type LoopRates } from '../streams/loops.ts'
import { withScene } from '../../../test/support/streams/scene.ts'
import { measureGrpc, wideSpec, type GrpcCost } from './grpc-cost.ts'
import { measureTracedReplicas, type TracedReplicas } from './tracing-cost.ts'

const titles = { grpc: 'gRPC', streams: 'Streams', tracing: 'Tracing' } as const
type Part = keyof typeof titles

const { parts, rounds, draws, records, out } = readOptions({
  parts: Object.keys(titles).join(','),
  rounds: 5,
  draws: 4,
  records: 100_000,
  out: reportFile('interop/interop.md'),
})
const measured = parts.split(',')

const measure: Record<Part, () => Promise<string[]>> = {
  grpc: () =>
    withDatabase(async (environment) =>
      describeGrpc(await measureGrpc(environment(), { 1: 4_000, 100: 1_000 }, rounds)),
    ),
  async streams() {
    let rates: LoopRates | undefined
    await withScene(async (scene) => {
      rates = await measureLoops(scene, Math.min(rounds, 3), records)
    })
    return describeStreams(rates!)
  },
  tracing: () =>
    withDatabase(async (environment) => {
      const collector = await startCollector()
      try {
        const sizes = { draws, rounds, calls: 20_000 }
        return describeTracing(await measureTracedReplicas(environment, collector.environment, sizes))
      } finally {
        await collector.stop()
      }
    }),
}

const known = sectionsOf(existsSync(out) ? readFileSync(out, 'utf8') : '')
for (const part of Object.keys(titles) as Part[])
  if (measured.includes(part)) {
    known.set(
      titles[part],
      [...(await measure[part]()), '', `${machine}, \`${commandOf(part)}\`.`].join('\n'),
    )
    writeFileSync(out, pageOf(known))
  }
console.log(pageOf(known))

function commandOf(part: Part): string {
  const sizes = { grpc: '', streams: ` --records ${records}`, tracing: ` --draws ${draws}` }
  return `npm run bench -- interop --parts ${part} --rounds ${rounds}${sizes[part]}`
}

/** Returns title → text of the sections. */
function sectionsOf(page: string): Map<string, string> {
  const [, ...sections] = page.split(/^## /m)
  return new Map(
    sections.map((section) => {
      const [title = '', ...lines] = section.split('\n')
      return [title, lines.join('\n').trim()]
    }),
  )
}

function pageOf(sections: ReadonlyMap<string, string>): string {
  const list = Object.values(titles).flatMap((title) => {
    const text = sections.get(title)
    return text === undefined ? [] : [`## ${title}`, '', text, '']
  })
  return [
    '# Other protocols, streams and tracing',
    '',
    'Made by `npm run bench -- interop`; each section names its command. A cost is the processor time of all threads of the replica for each call, with eight',
    'callers. Processor time depends little on other work on the machine. What is compared was measured in interleaved rounds.',
    '',
    ...list,
    '## The OpenTelemetry collector',
    '',
    '`npm run test:all -- test/interop` builds the OpenTelemetry collector (0.155.0, with its OTLP receiver and its OTLP exporter over HTTP) from its Go modules. The',
    'collector stands between a receiver and a system with a replica, a control worker, callers, a release that is promoted and one that is rolled back.',
    '',
    'In the last run the collector received and exported 1,259 spans (140 of the release that was rolled back), 58 metrics and 66 log records, and logged no',
    'warning and no error. No span arrived twice, and each had its parent. The build takes two minutes on two busy cores and is cached; the test takes 13',
    'seconds. Other receivers, processors and exporters were not run.',
    '',
    '## Generated requests',
    '',
    '`TENURE_TEST_EXAMPLES=65 npm run test:all -- test/interop` lets [schemathesis](https://schemathesis.readthedocs.io) generate about ten thousand requests from',
    '`/openapi.json`, sends them to every route, and compares each response with the document. On a busy machine Postgres may not respond in time; the',
    'replica then answers 503, which schemathesis reports as a server error.',
    '',
    'The last complete run with every check (`TENURE_TEST_CHECKS=all`, `TENURE_TEST_EXAMPLES=60`, schemathesis 4.32.5, seed 1, load 3 to 17) made 10,877 requests',
    'for all 94 operations in 14 minutes: no server error, no undocumented status and no response that violates its schema. A hook protects the key that',
    'sends the requests.',
    '',
    '- The document allows 32 requests that the replica refuses because of their data, such as a date, a query or an unknown name.',
    '- The document forbids one request that the replica accepts: a list of events with an invalid one. The replica stores the others.',
    '- For 27 operations most responses were 404, because the replica does not have the generated ids.',
    '',
    'The checks of the test leave out the first two kinds.',
  ].join('\n')
}

/** Serves `iris` and `wide`; each environment has a state of its own. */
async function withDatabase(
  work: (environment: () => Record<string, string>) => Promise<string[]>,
): Promise<string[]> {
  const database = await openDatabase()
  try {
    const environment = await prepareServing(database, [irisSpec(), wideSpec()])
    return await work(() => ({ ...environment, TENURE_STATE: mkdtempSync(join(database.root, 'state-')) }))
  } finally {
    await database.stop()
  }
}

function describeGrpc(calls: GrpcCost[]): string[] {
  return [
    'The same rows are sent over HTTP (`/v2/models/wide/infer`, JSON) and over gRPC (`ModelInfer`, raw tensors). The ratio is the median of the ratios of the',
    'rounds. *Bare grpc-js* is a server of that library that reads messages of the same sizes, computes nothing and answers with as many bytes.',
    '',
    ...figureTable(
      'call | HTTP, µs | gRPC, µs | ratio | bar | bare grpc-js, µs',
      calls.map(({ rows, httpUs, grpcUs, bareUs, ratio }) => [
        `${rows} × 32`,
        httpUs.toFixed(0),
        grpcUs.toFixed(0),
        `× ${ratio.toFixed(2)}`,
        rows === 1 ? '× 3' : '× 1.6',
        bareUs.toFixed(0),
      ]),
    ),
  ]
}

function describeStreams(loops: LoopRates): string[] {
  const bare = loops.bare.map(({ perSecond }) => perSecond)
  const loop = (name: string, all: LoopRate[]): string[] => [
    name,
    all.map(({ perSecond }) => roundedNumber(perSecond)).join(', '),
    all.map(({ perSecond }, round) => (perSecond / bare[round]!).toFixed(2)).join(', '),
  ]
  return [
    'A replica reads records of one row of iris from Kafka and writes its answers to Kafka, in transactions. The *bare loop* reads and commits in the same way',
    'but predicts nothing. The broker, Postgres, the replica and the load generator share the machine. [Predictions for a topic](../streams/streams.md)',
    'measures more records, and kills.',
    '',
    ...figureTable('loop | records a second | share of the bare loop', [
      ['bare consume and produce', bare.map(roundedNumber).join(', '), ''],
      loop('predictions, best-effort log', loops.bestEffort),
      loop('predictions, durable log', loops.durable),
    ]),
    '',
    `The target is 20,000 records a second or half the rate of the bare loop (${roundedNumber(quantileOf(bare, 0.5) / 2)}), whichever is higher.`,
  ]
}

function describeTracing({ offUs, traced, again }: TracedReplicas): string[] {
  const times = (all: number[]): string => all.map((each) => `× ${each.toFixed(3)}`).join(', ')
  return [
    `A call without a collector costs ${offUs.toFixed(1)} µs. Each draw starts three processes, one that traces 1 % of the calls and two without tracing;`,
    'a figure is the cost as a multiple of the first one without. Two processes without tracing differ too (second line), because V8 compiles and inlines',
    'in a different order in each.',
    '',
    ...figureTable('replica | draws', [
      ['with tracing', times(traced)],
      ['a second one without', times(again)],
    ]),
  ]
}
