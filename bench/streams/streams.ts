/**
 * Measures predictions for a topic of Kafka and writes bench/streams/streams.md: records a second beside a loop that only consumes and produces, and
 * the equation of the log after repeated kills. `npm run bench:streams -- [--rounds 3] [--records 100000] [--kills 20] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { figureTable, machine, quantileOf, roundedNumber } from '../harness/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { killStream, type StreamKills } from './kills.ts'
import { measureLoops, type LoopRates } from './loops.ts'
import { withScene } from './scene.ts'

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
  const bare = quantileOf(rates.bare, 0.5)
  const line = (name: string, all: number[]): string[] => [
    name,
    roundedNumber(quantileOf(all, 0.5)),
    all.map(roundedNumber).join(', '),
    (quantileOf(all, 0.5) / bare).toFixed(2),
  ]
  return [
    '# Predictions for a topic',
    '',
    `Made by \`npm run bench:streams -- --rounds ${options.rounds} --records ${options.records} --kills ${options.kills}\` on ${machine}.`,
    'One broker of Kafka 4.1.0, Postgres, a replica and this program share the machine. A record is a request with one row of iris; answers and',
    'offsets are one transaction for at most 2,000 records.',
    '',
    '## Records a second',
    '',
    'The bare loop is that of a replica: it consumes the same topic and produces the bytes of an answer for each record, with the same transactions',
    'and no prediction. Both work on a batch while the broker commits the one before.',
    'Only the share counts where other work runs on the machine: the loops run one after the other.',
    '',
    ...figureTable('loop | median | rounds | share of the bare loop', [
      line('bare consume and produce', rates.bare),
      line('predictions, best-effort log', rates.bestEffort),
      line('predictions, durable log', rates.durable),
    ]),
    '',
    '## After kills',
    '',
    `The replica, with a durable log, was killed ${killed.kills} times with SIGKILL while it answered, and the broker once. Consumed = answered + dead:`,
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
