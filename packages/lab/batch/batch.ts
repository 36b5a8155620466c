/**
 * Measures batch prediction and writes packages/lab/batch/batch.md: 3,000,000 real flights scored by a Tenure batch and by a scikit-learn script with
 * the same network, and whether a kill loses or duplicates a row. `npm run bench -- batch [--rounds 3] [--python PATH] [--out FILE]`; the
 * Python needs scikit-learn, pandas and pyarrow.
 */
import { textLiteral } from '../../../domain/sql-text.ts'
import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { shardRows } from '../../../domain/model/batch-spec.ts'
import { cacheDir } from '../../../temporal.config.ts'
import { figureTable, machine, spreadOf } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { sampleMemory } from '../../../test/support/servers/processes.ts'
import { flightsSpec, inputsOf, writeFlights, writeWeights } from './flights.ts'
import { beginBatch, openBatchStage, partsDone, startTrainWorker, type BatchStage } from './fixture.ts'

const { rounds, python, out } = readOptions({
  rounds: 3,
  python: 'python3',
  out: reportFile('batch/batch.md'),
})
const peer = fileURLToPath(new URL('peer.py', import.meta.url))
const directory = join(cacheDir(), 'bench-batch')
const input = join(directory, 'flights.parquet')

interface Run {
  seconds: number
  megabytes: number
}

mkdirSync(directory, { recursive: true })
if (!existsSync(input)) console.log(`${await writeFlights(input)} flights written to ${input}`)
const spec = await flightsSpec(input, 'flights')
writeWeights(join(directory, 'weights.json'), spec)
const model = join(directory, 'model.joblib')
runPeer(['prepare', join(directory, 'weights.json'), model])
const [counted] = await rowsOf<{ rows: number }>(`select count(*) as rows from ${textLiteral(input)}`)
const { rows } = counted!

const stage = await openBatchStage(spec)
const loads: number[] = []
const ours: Run[] = []
const theirs: (Run & { whole: number })[] = []
let killed: Awaited<ReturnType<typeof killInTheMiddle>>
try {
  mkdirSync(stage.config.batchDir, { recursive: true })
  copyFileSync(input, join(stage.config.batchDir, 'flights.parquet'))
  for (let round = 0; round < rounds; round++) {
    loads.push(loadavg()[0]!)
    ours.push(await runOurs(stage, `answers-${round}.parquet`))
    theirs.push(await runTheirs(join(directory, 'peer.parquet')))
    console.log(JSON.stringify({ round, ours: ours.at(-1), theirs: theirs.at(-1) }))
  }
  killed = await killInTheMiddle(stage)
} finally {
  await stage.stop()
}
const page = report()
writeFileSync(out, page)
console.log(page)
if (killed.lost + killed.doubled > 0 || !killed.isSame || killed.difference > 1e-5) process.exitCode = 1

function runPeer(words: readonly string[]): void {
  const { status, stderr } = spawnSync(python, [peer, ...words], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${python} ${peer} failed: ${stderr}`)
}

/** Times one batch from request to file in a fresh worker, because a process does not return its memory. */
async function runOurs(on: BatchStage, output: string): Promise<Run> {
  const worker = await startTrainWorker(on)
  try {
    const memory = sampleMemory(worker.pid!)
    const began = performance.now()
    const { ended } = await beginBatch(on, output)
    const outcome = await ended
    const seconds = (performance.now() - began) / 1_000
    if (outcome.status !== 'done') throw new Error(outcome.message)
    console.log(outcome.message)
    return { seconds, megabytes: memory.stop() }
  } finally {
    worker.kill('SIGKILL')
  }
}

/** Returns the times that the script reports for its steps, and its total time. */
async function runTheirs(output: string): Promise<Run & { whole: number }> {
  const began = performance.now()
  const child = spawn(python, [peer, 'score', model, input, output], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const memory = sampleMemory(child.pid!)
  const [said, [code]] = await Promise.all([text(child.stdout), once(child, 'close') as Promise<[number]>])
  if (code !== 0) throw new Error(`the peer ended with ${code}`)
  const whole = (performance.now() - began) / 1_000
  const { seconds } = JSON.parse(said) as { seconds: number }
  return { seconds, whole, megabytes: memory.stop() }
}

/** Repeats the batch with a killed worker and compares the output with an undisturbed run and with the peer. */
async function killInTheMiddle(on: BatchStage) {
  const first = await startTrainWorker(on)
  const { id, ended } = await beginBatch(on, 'killed.parquet')
  while ((await partsDone(on, id)) < 4) await pause(5)
  first.kill('SIGKILL')
  const doneBefore = await partsDone(on, id)
  const second = await startTrainWorker(on)
  const outcome = await ended
  second.kill('SIGKILL')
  if (outcome.status !== 'done') throw new Error(outcome.message)
  const of = (name: string) => `read_parquet(${textLiteral(join(on.config.batchDir, name))})`
  const digest = (name: string) =>
    `(select md5(string_agg(md5(row(id, row, outputs, answer, problem)::varchar), '' order by row)) from ${of(name)})`
  const [found] = await rowsOf<{
    n: number
    distinct_rows: number
    same: boolean
    digest: string
    far: number
  }>(`
    select count(*) as n, count(distinct id) as distinct_rows, ${digest('killed.parquet')} as digest,
      ${digest('killed.parquet')} = ${digest('answers-0.parquet')} as same,
      (select max(abs(outputs[1] - probability)) from ${of('killed.parquet')} as ours
        join read_parquet(${textLiteral(join(directory, 'peer.parquet'))}) as theirs using (id)) as far
    from ${of('killed.parquet')}`)
  const { n, distinct_rows: distinct, same, digest: whole, far } = found!
  return {
    parts: Math.ceil(rows / shardRows),
    doneBefore,
    lost: rows - distinct,
    doubled: n - distinct,
    isSame: same,
    digest: whole,
    difference: far,
  }
}

function rowsOf<T extends object>(query: string): Promise<T[]> {
  return withDuck((duck) => duck.rows<T>(query))
}

function report(): string {
  const spread = (figures: readonly number[], digits = 0): string =>
    spreadOf(figures)
      .map((each) => each.toLocaleString('en', { maximumFractionDigits: digits }))
      .join(' / ')
  const row = (name: string, runs: readonly Run[]): string[] => {
    const seconds = runs.map((run) => run.seconds)
    const memory = runs.map(({ megabytes }) => megabytes)
    return [name, spread(seconds.map((each) => rows / each)), spread(seconds, 2), spread(memory)]
  }
  return [
    '# Batch prediction',
    '',
    `Made by \`npm run bench -- batch --rounds ${rounds}\` on ${machine}.`,
    '',
    `Tenure and a scikit-learn script predict ${rows.toLocaleString('en')} real flights (\`flights-3m\` of vega-datasets, each once, with the six features of`,
    '`flight-delay`). They read one Parquet file and write the predictions with their ids to another one. Both use the same weights of a network of',
    `${inputsOf(spec.preprocessing)} inputs, 16 units (relu) and one output (sigmoid). They take turns, and the figures are minimum / median / maximum.`,
    `The load average before each turn was ${spread(loads)}; more than 1 is other work on the machine.`,
    '',
    ...figureTable(' | rows a second | seconds | peak memory, MB', [
      row('Tenure, from the request to the file', ours),
      row('scikit-learn, from the first read to the file', theirs),
      row(
        'scikit-learn, with the start of Python',
        theirs.map(({ whole, megabytes }) => ({ seconds: whole, megabytes })),
      ),
    ]),
    '',
    'Tenure runs an ordinary batch: Temporal orders it, the input is frozen and digested, each row is validated like a request, a separate process',
    'predicts, and Postgres records each part. The memory of Tenure is the resident memory of the training worker and that process',
    'together; the memory of the script is its own. Both are sampled every 50 ms.',
    '',
    `Both give the same predictions: the largest difference of a probability is ${killed.difference.toExponential(1)}.`,
    '',
    '## Worker killed during a batch',
    '',
    `The worker was killed with SIGKILL when ${killed.doneBefore} of ${killed.parts} parts were stored, and another one was started. Of ${rows.toLocaleString('en')} rows ${killed.lost} are lost and`,
    `${killed.doubled} duplicated; the digest over all rows in their order (${killed.digest.slice(0, 12)}…) is ${killed.isSame ? 'that' : 'NOT that'} of an undisturbed batch.`,
    '',
  ].join('\n')
}
