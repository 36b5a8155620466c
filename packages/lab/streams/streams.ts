/**
 * Measures predictions on a Kafka topic and writes packages/lab/streams/streams.md: records per second relative to a loop that only consumes and
 * produces, and whether records are lost or duplicated after repeated kills. `npm run bench -- streams [--rounds 3] [--records 100000]
 * [--kills 20] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { figureTable, machine, quantileOf, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { killStream, type StreamKills } from '../../../test/support/streams/kills.ts'
import { measureLoops, type LoopCosts, type LoopRate, type LoopRates } from './loops.ts'
import { withScene } from '../../../test/support/streams/scene.ts'

const options = readOptions({
  rounds: 3,
  records: 100_000,
  kills: 20,
  perKill: 5_000,
  out: reportFile('streams/streams.md'),
})

await withScene(async (scene) => {
  const rates = await measureLoops(scene, options.rounds, options.records)
  const kills = await killStream(scene, options.kills, options.perKill)
  const text = report(rates, kills)
  writeFileSync(options.out, text)
  console.log(text)
  if (
    kills.consumed !== kills.answered + kills.dead ||
    kills.sources !== kills.consumed ||
    kills.rows !== kills.answered
  )
    process.exitCode = 1
})

function report(rates: LoopRates, killed: StreamKills): string {
  const speeds = (all: LoopRate[]): number[] => all.map(({ perSecond }) => perSecond)
  const cost = (all: LoopRate[], part: keyof LoopCosts): string => {
    const each = all.map(({ cpuUs }) => cpuUs[part])
    return `${quantileOf(each, 0.5).toFixed(0)} (${each.map((us) => us.toFixed(0)).join(', ')})`
  }
  const bare = quantileOf(speeds(rates.bare), 0.5)
  const line = (name: string, all: LoopRate[]): string[] => [
    name,
    roundedNumber(quantileOf(speeds(all), 0.5)),
    speeds(all).map(roundedNumber).join(', '),
    (quantileOf(speeds(all), 0.5) / bare).toFixed(2),
    cost(all, 'loop'),
    cost(all, 'postgres'),
    cost(all, 'broker'),
  ]
  return [
    '# Predictions for a topic',
    '',
    `Made by \`npm run bench -- streams --rounds ${options.rounds} --records ${options.records} --kills ${options.kills}\` on ${machine}.`,
    'A replica reads requests from a Kafka topic and writes its answers to another one. A Kafka 4.1.0 broker, Postgres, the replica and the load',
    'generator share the machine. A record is a request with one row of iris. One transaction holds the answers and offsets of at most 2,000 records.',
    '',
    '## Records a second',
    '',
    'The *bare loop* is the reference. It consumes the same topic and produces as many bytes for each record in the same transactions, but predicts',
    'nothing. Both loops work on one batch while the broker commits the previous one. The loops run one after the other, so other work on the machine',
    'distorts their rates. The processor time for each record is more reliable; that of a replica includes two scrapes of its metrics a second. The',
    'first 40 % of the records are not measured, because V8 is still compiling.',
    '',
    'The target is 20,000 records a second or half the rate of the bare loop, whichever is higher.',
    '',
    ...figureTable(
      'loop | records a second | rounds | share of the bare loop | processor time of the loop, µs a record | of Postgres | of the broker',
      [
        line('bare consume and produce', rates.bare),
        line('predictions, best-effort log', rates.bestEffort),
        line('predictions, durable log', rates.durable),
      ],
    ),
    '',
    '## After kills',
    '',
    `During a run with the durable log, the replica was killed ${killed.kills} times with SIGKILL and the broker once. Each record was answered or became a dead letter, exactly once:`,
    '',
    ...figureTable(
      'consumed | answered | dead letters | different records among both | rows of the answers in the log | different ids',
      [
        [killed.consumed, killed.answered, killed.dead, killed.sources, killed.rows, killed.ids].map(
          roundedNumber,
        ),
      ],
      { names: '--:' },
    ),
    '',
  ].join('\n')
}
