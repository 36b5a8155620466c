/**
 * Measures what protocols beside HTTP and what tracing cost, and writes bench/interop/interop.md.
 * `npm run bench:interop -- [--rounds 5] [--draws 4] [--records 100000] [--out FILE]`
 */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { irisSpec } from '../../test/support/serving/artifact.ts'
import { startCollector } from '../../test/support/tracing/collector.ts'
import { openDatabase, prepareServing } from '../harness/database.ts'
import { figureTable, machine, quantileOf, roundedNumber } from '../harness/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { measureLoops, type LoopRates } from '../streams/loops.ts'
import { withScene } from '../streams/scene.ts'
import { measureGrpc, wideSpec, type GrpcCost } from './grpc-cost.ts'
import { measureTracedReplicas, measureTracing, type TracedReplicas } from './tracing-cost.ts'

const options = readOptions({
  rounds: 5,
  draws: 4,
  records: 100_000,
  out: reportFile('interop/interop.md'),
})
const { rounds, draws, records } = options

const { grpc, tracing, replicas } = await measureCalls()
let rates: LoopRates | undefined
await withScene(async (scene) => {
  rates = await measureLoops(scene, Math.min(rounds, 3), records)
})
const text = report(grpc, tracing, replicas, rates!)
writeFileSync(options.out, text)
console.log(text)

async function measureCalls() {
  const database = await openDatabase()
  const collector = await startCollector()
  try {
    const environment = await prepareServing(database, [irisSpec(), wideSpec()])
    const grpc = await measureGrpc(environment, { 1: 4_000, 100: 1_000 }, rounds)
    const own = () => ({ ...environment, TENURE_STATE: mkdtempSync(join(database.root, 'state-')) })
    const sizes = { draws, rounds, calls: 2_000 }
    return {
      grpc,
      tracing: await measureTracing(collector.url),
      replicas: await measureTracedReplicas(own, collector.url, sizes),
    }
  } finally {
    await collector.stop()
    await database.stop()
  }
}

function report(
  calls: GrpcCost[],
  alone: Awaited<ReturnType<typeof measureTracing>>,
  traced: TracedReplicas,
  loops: LoopRates,
): string {
  const bare = quantileOf(loops.bare, 0.5)
  const loop = (name: string, all: number[]): string[] => [
    name,
    all.map(roundedNumber).join(', '),
    all.map((rate, round) => (rate / loops.bare[round]!).toFixed(2)).join(', '),
  ]
  const times = (all: number[]): string => all.map((each) => `× ${each.toFixed(3)}`).join(', ')
  const share = (us: number): string => `${((100 * us) / traced.offUs).toFixed(2)} %`
  return [
    '# Other protocols, streams and tracing',
    '',
    `Made by \`npm run bench:interop -- --rounds ${rounds} --draws ${draws} --records ${records}\` on ${machine}. Costs are the processor time of all threads`,
    'of the replica for each call, with eight callers, so that other work on the machine weighs little; what is compared ran in turn.',
    '',
    '## gRPC',
    '',
    'The same rows over HTTP (`/v2/models/wide/infer`, JSON) and over gRPC (`ModelInfer`, raw tensors). The ratio is the median of those of the rounds.',
    '',
    ...figureTable(
      'call | HTTP, µs | gRPC, µs | ratio | bar',
      calls.map(({ rows, httpUs, grpcUs, ratio }) => [
        `${rows} × 32`,
        httpUs.toFixed(0),
        grpcUs.toFixed(0),
        `× ${ratio.toFixed(2)}`,
        rows === 1 ? '× 3' : '× 1.6',
      ]),
    ),
    '',
    '## Streams',
    '',
    'Records of one row of iris, from Kafka and to it, in transactions. The bare loop reads and commits as a replica does, and predicts nothing. A broker,',
    'Postgres, the replica and this program share the machine. [The measurements of streams](../streams/streams.md) have the equation after kills.',
    '',
    ...figureTable('loop | records a second | share of the bare loop', [
      ['bare consume and produce', loops.bare.map(roundedNumber).join(', '), ''],
      loop('predictions, best-effort log', loops.bestEffort),
      loop('predictions, durable log', loops.durable),
    ]),
    '',
    `The bar is 20,000 records a second or half of the bare loop (${roundedNumber(bare / 2)}), whichever is more.`,
    '',
    '## Tracing',
    '',
    `A call without a collector costs ${traced.offUs.toFixed(1)} µs. The bar is 3 % at a share of 1 %.`,
    '',
    ...figureTable('what | figure | share of a call', [
      ['the decision and the spans, for each call', `${alone.callUs.toFixed(2)} µs`, share(alone.callUs)],
      [
        'the bytes of a span, at one call of a hundred',
        `${alone.spanUs.toFixed(1)} µs`,
        share(alone.spanUs / 100),
      ],
      ['both together', `${alone.us.toFixed(2)} µs`, share(alone.us)],
    ]),
    '',
    'Replicas with a collector, as multiples of one without, by draw of three processes. Two processes of the same kind differ as the second line says: V8',
    'compiles and inlines in another order in each. A single pair of processes therefore says nothing about 3 %.',
    '',
    ...figureTable('replica | draws', [
      ['with tracing', times(traced.traced)],
      ['a second one without', times(traced.again)],
    ]),
    '',
    '## Generated requests',
    '',
    '`TENURE_TEST_EXAMPLES=100 npm run test:interop` sends what [schemathesis](https://schemathesis.readthedocs.io) makes from `/openapi.json` to every route and compares',
    'each response with the document.',
    '',
  ].join('\n')
}
