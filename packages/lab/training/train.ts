/**
 * Measures trainings: the flights of the example model in Tenure, TensorFlow in Python, LightGBM and scikit-learn, and up to ten million
 * similar rows, in training and in evaluation. Contenders take turns; only CPU time and ratios within a round count.
 *
 * `npm run bench -- train [--rounds 5] [--sizes 100000,1000000,10000000] [--python PYTHON] [--out FILE] [--keep DIR]`. Without `--python`,
 * an environment with the peers is made in the cache.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { EvaluatorJob, EvaluatorResult } from '../../../activities/evaluation/evaluator.ts'
import type { TrainerJob, TrainerResult, TrainerStep } from '../../../activities/tensorflow/trainer.ts'
import type { LoadedModel } from '../../../models/index.ts'
import { figureTable, machine, quantileOf, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { pythonOfPeers } from '../harness/python.ts'
import { makeRows, modelOfEpochs, takeFlights, type RowsFile } from './fixture.ts'
import { measureChild, type Usage } from './measured-child.ts'

const options = readOptions({
  rounds: 5,
  sizes: '100000,1000000,10000000',
  evaluations: '100000,1000000,10000000',
  python: '',
  out: reportFile('training/train.md'),
  keep: '',
})
const manyRows = 5_000_000
const peers = fileURLToPath(new URL('peers.py', import.meta.url))
const folder = options.keep || mkdtempSync(join(tmpdir(), 'tenure-train-'))
const root = join(folder, 'artifacts')
const lines: string[] = []
try {
  if (options.rounds > 0) await compareFlights()
  if (options.sizes !== '') await measureSizes(options.sizes.split(',').map(Number))
  if (options.evaluations !== '') await measureEvaluations(options.evaluations.split(',').map(Number))
} finally {
  if (options.keep === '') rmSync(folder, { recursive: true, force: true })
}
const page = [
  '# Trainings',
  '',
  `\`npm run bench -- train\`, ${machine}, load average ${loadavg()[1]!.toFixed(0)}. Seconds of processor time, as minimum / median / maximum.`,
  '',
  ...lines,
].join('\n')
writeFileSync(options.out, page)
process.stdout.write(page)

function jobOf(model: LoadedModel, { digest }: RowsFile): TrainerJob {
  return {
    model: model.name,
    modelsDirectory: folder,
    definition: model.definition,
    snapshotDigest: digest,
    artifactRoot: root,
    seed: 1,
    hyperparameters: model.definition.hyperparameters,
  }
}

function trainOn(model: LoadedModel, snapshot: RowsFile) {
  return measureChild<TrainerStep, TrainerResult>('activities/tensorflow/trainer.ts', jobOf(model, snapshot))
}

interface PeerPart extends Usage {
  part: string
}

function runPeer(python: string, kind: string, { path }: RowsFile, epochs: number): PeerPart[] {
  const told = execFileSync(python, [peers, kind, path, String(epochs)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' },
  })
  return told
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as PeerPart)
}

async function compareFlights(): Promise<void> {
  const python = pythonOfPeers(options.python)
  const epochs = 3
  const model = await modelOfEpochs(folder, epochs)
  const snapshot = await takeFlights(root, model)
  const figures: Record<string, number[]> = {}
  const add = (name: string, value: number) => (figures[name] ??= []).push(value)
  for (let round = 0; round < options.rounds; round++) {
    const ours = await trainOn(model, snapshot)
    const [first, last] = [ours.steps[0]!, ours.steps.at(-1)!]
    const epoch = (last.cpu - first.cpu) / (epochs - 1)
    add('whole', ours.end.cpu)
    add('wall', ours.end.wall)
    add('epoch', epoch)
    const tensorflow = runPeer(python, 'tensorflow', snapshot, epochs)
    const at = (part: string) => tensorflow.find((each) => each.part === part)!.cpu
    const theirs = (at(`epoch ${epochs}`) - at('epoch 1')) / (epochs - 1)
    add('python whole', at('saved'))
    add('python epoch', theirs)
    add('python fit', at('fit') - at('import'))
    add('fit ratio', (epoch * epochs) / (at('fit') - at('import')))
    add('epoch ratio', epoch / theirs)
    add('whole ratio', ours.end.cpu / at('saved'))
    for (const kind of ['lightgbm', 'sklearn']) {
      const [read, fit] = runPeer(python, kind, snapshot, epochs)
      add(`${kind} whole`, fit!.cpu)
      add(`${kind} fit`, fit!.cpu - read!.cpu)
    }
    process.stderr.write(`${JSON.stringify(figures)}\n`)
  }
  const spread = (name: string, digits = 2) =>
    [0, 0.5, 1].map((share) => quantileOf(figures[name]!, share).toFixed(digits)).join(' / ')
  lines.push(
    '## 80,000 flights, 3 epochs',
    '',
    `${options.rounds} rounds. *Ours* is the training process of a worker, from its start to the stored artifact with golden rows and profile.`,
    '',
    ...figureTable('contender | one epoch | fit of 3 epochs | process', [
      ['ours', spread('epoch'), `3 × epoch`, spread('whole')],
      ['TensorFlow 2.15 in Python', spread('python epoch'), spread('python fit'), spread('python whole')],
      ['ours ÷ TensorFlow', spread('epoch ratio'), spread('fit ratio'), spread('whole ratio')],
      ['LightGBM, 100 × 31', '', spread('lightgbm fit'), spread('lightgbm whole')],
      ['scikit-learn, the same network', '', spread('sklearn fit'), spread('sklearn whole')],
    ]),
    '',
    `Ours in wall time, on a machine shared with others: ${spread('wall', 1)} s.`,
    '',
  )
}

async function measureSizes(sizes: readonly number[]): Promise<void> {
  const [one, two] = [await modelOfEpochs(folder, 1), await modelOfEpochs(folder, 2)]
  const found: string[][] = []
  for (const size of sizes) {
    const snapshot = await makeRows(root, { train: size, test: 25_000 })
    // One epoch of the largest size is enough, because its start is a small part.
    const trained = await trainOn(size >= manyRows ? one : two, snapshot)
    const { steps, end, result } = trained
    const fit = steps.length > 1 ? steps.at(-1)!.cpu - steps[0]!.cpu : steps[0]!.cpu
    found.push([
      roundedNumber(size),
      roundedNumber(result.rows / fit),
      roundedNumber(end.cpu),
      roundedNumber(end.peakMb),
    ])
    process.stderr.write(`${found.at(-1)!.join(' | ')}\n`)
    rmSync(snapshot.path)
  }
  lines.push(
    '## Trainings of rows like the flights',
    '',
    'Rows per second of processor time. The figure is that of the second epoch; for ten million rows it is that of one epoch with start, reading and fitting.',
    '',
    ...figureTable('rows | rows/s | s | peak MiB', found),
    '',
  )
}

async function measureEvaluations(sizes: readonly number[]): Promise<void> {
  const model = await modelOfEpochs(folder, 1)
  const found: string[][] = []
  for (const size of sizes) {
    const snapshot = await makeRows(root, { train: 50_000, test: size })
    const { result } = await trainOn(model, snapshot)
    const { artifactDigest: challenger } = result
    const job: EvaluatorJob = {
      definition: model.definition,
      modelsDirectory: folder,
      snapshotDigest: snapshot.digest,
      artifactRoot: root,
      challenger,
      champion: challenger,
      anchors: [],
      testSetUses: 0,
    }
    const judged = await measureChild<never, EvaluatorResult>('activities/evaluation/evaluator.ts', job)
    found.push([
      roundedNumber(size),
      roundedNumber(judged.result.inputs.rows / judged.end.cpu),
      roundedNumber(judged.end.cpu),
      roundedNumber(judged.end.peakMb),
    ])
    process.stderr.write(`${found.at(-1)!.join(' | ')}\n`)
    rmSync(snapshot.path)
  }
  lines.push(
    '## Evaluations of rows like the flights',
    '',
    'Challenger and champion, with all intervals of the gate.',
    '',
    ...figureTable('rows | rows/s | s | peak MiB', found),
    '',
  )
}
