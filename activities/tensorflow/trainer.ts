/**
 * Trains one model on one snapshot and writes one artifact. A new process for each training reads the current model file and frees its
 * memory at the end.
 */
import { type FeatureFit, inputWidthOf, outputWidth } from '@tenure/predictors/features'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LayersModel } from '@tensorflow/tfjs'
import { DomainError, isError } from '../../domain/errors.ts'
import { listCells, listRows } from '../../domain/model/columns.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import { compileColumnEncoder, fitFeatures, compileEncoder } from '../../domain/model/preprocessing.ts'
import { hasValidation, listedFeatures, type ModelDefinition } from '../../domain/model-definition.ts'
import { rowWeights } from '../../domain/training/row-weights.ts'
import { seededRandom } from '@tenure/sequential'
import { codeDigest } from '../../models/define/code-digest.ts'
import { withoutExit } from '../../models/define/load-error.ts'
import type { Training } from '../../models/define/model.ts'
import type { LoadedModel } from '../../models/index.ts'
import { digestOf, digestOfJson, openArtifacts, type Artifacts } from '../../store/artifacts.ts'
import { isFull } from '../../store/outage.ts'
import { checkout, projectFolder } from '../../temporal.config.ts'
import { decodeCheckpoint, encodeCheckpoint, type Checkpoint } from './checkpoint.ts'
import { makeFit, type EncodedRows, type FitDeps, type FitStep } from './training-loop.ts'
import { takeJob, type Parent } from '../runtime/child-protocol.ts'
import { detectOutOfMemory } from '../runtime/memory-limit.ts'
import { readPart, targetsOf, type LabelledRows } from '../data/rows.ts'
import { loadTensorflow, answerLists, answersOf, saveNetwork, type Tensorflow } from './tfjs.ts'
import type { TrainingUsage } from '../../domain/model/cost.ts'
import type { TrainingFacts } from '../../domain/model/manifest.ts'
import { loadUnchanged } from '../runtime/unchanged-model.ts'
import { storeArtifact } from '../artifact/write-artifact.ts'

export interface TrainerJob {
  model: string
  modelsDirectory: string
  /** The definition that the snapshot was taken with. */
  definition: ModelDefinition
  snapshotDigest: string
  artifactRoot: string
  seed: number
  /** The hyperparameters of the model file with the overrides of this training. */
  hyperparameters: Training['hyperparameters']
  /** The digest of the checkpoint to resume from. */
  checkpoint?: string
  /** The curve of the judged training, for a refit: its validation rows are trained on, and `fit` ends at the best epoch of that curve. */
  frozen?: FitDeps['frozen']
}

export interface TrainerStep extends FitStep {
  /** The digest of the checkpoint after this epoch; absent for a training loop in the model file. */
  checkpoint?: string
}

export interface TrainerResult {
  artifactDigest: string
  codeDigest: string
  dependenciesDigest: string
  dependencies: Record<string, string>
  rows: number
  usage: TrainingUsage
}

async function runTraining(job: TrainerJob, parent: Parent<TrainerStep>): Promise<TrainerResult> {
  const artifacts = openArtifacts(job.artifactRoot)
  const model = await loadUnchanged(job.definition, job.modelsDirectory)
  const definition = { ...job.definition, features: listedFeatures(job.definition) }
  const { snapshotDigest: snapshot, seed, hyperparameters } = job
  const code = await codeDigest(model.file, join(checkout, 'activities/tensorflow/trainer.ts'))
  const dependencies = await dependenciesDigest()
  const basis = { code, dependencies, snapshot, seed, hyperparameters }
  const rows = await parent.part('load data', () => readRows(artifacts, job, definition))
  await parent.yieldToEventLoop()
  const fits = fitFeatures(rows.data, definition.features)
  const tf = await loadTensorflow()
  const of = digestOfJson(basis)
  const resume = await findCheckpoint(artifacts, job.checkpoint, of)
  // Makes unseeded random numbers of a model file repeatable.
  Math.random = seededRandom(seed)
  const training = trainingOf({ tf, job, definition, rows, fits, parent, artifacts, of, resume })
  const network = await parent.part('fit', () => trainNetwork(model, training))
  const { data } = rows
  const facts = { ...basis, rows: data.rows }
  const artifactDigest = await parent.part('write artifact', () =>
    storeNetwork(tf, artifacts, { definition, network, fits, data, training: facts }),
  )
  return {
    artifactDigest,
    codeDigest: code,
    dependenciesDigest: dependencies,
    dependencies: await dependenciesOf(),
    rows: data.rows,
    usage: usageOfThis(),
  }
}

/** What this process took since its start. */
function usageOfThis(): TrainingUsage {
  const { user, system } = process.cpuUsage()
  return {
    cpuMs: (user + system) / 1_000,
    peakBytes: process.resourceUsage().maxRSS * 1_024,
    ms: process.uptime() * 1_000,
  }
}

interface TrainingRows {
  data: LabelledRows
  /** The validation rows; absent without validation. */
  held: LabelledRows | undefined
  /** The weight of each row of `data`; absent if all weigh the same. */
  weights: Float32Array | undefined
}

async function readRows(
  artifacts: Artifacts,
  { snapshotDigest, frozen }: TrainerJob,
  definition: ModelDefinition,
): Promise<TrainingRows> {
  const path = await artifacts.locate('snapshots', snapshotDigest)
  const names = Object.keys(definition.features)
  const { weights: weighing, label } = definition
  const { output } = label
  const column = weighing?.column
  const data = await readPart(path, frozen === undefined ? 'train' : ['train', 'validation'], {
    names,
    optional: column === undefined ? [] : [column],
    output,
  })
  const held = hasValidation(definition) ? await readPart(path, 'validation', { names, output }) : undefined
  const weights =
    weighing &&
    rowWeights(weighing, output, {
      labels: listCells(data.labels[0]),
      cells: column === undefined ? undefined : data.columns[column] && listCells(data.columns[column]),
    })
  return { data, held, weights }
}

interface TrainingParts {
  tf: Training['tf']
  job: TrainerJob
  definition: ModelDefinition
  rows: TrainingRows
  fits: ReturnType<typeof fitFeatures>
  parent: Parent<TrainerStep>
  artifacts: Artifacts
  /** The digest that the checkpoints of this training carry. */
  of: string
  resume: Checkpoint | undefined
}

/** Makes the argument of `train`. */
function trainingOf({ tf, job, definition, rows, fits, parent, ...stored }: TrainingParts): Training {
  const { features, label } = definition
  const { artifacts, of, resume } = stored
  const { data, held, weights } = rows
  const { seed, hyperparameters } = job
  const names = Object.keys(features)
  const inputs = inputWidthOf(fits)
  const outputs = outputWidth(label.output)
  const encoded = (part: LabelledRows): EncodedRows => ({
    rows: part.rows,
    inputs,
    outputs,
    encode: compileColumnEncoder(part, features, fits),
    targets: targetsOf(part.labels, label.output),
  })
  // Built only for a model file that reads them.
  let objects: FeatureRow[] | undefined
  let heldObjects: FeatureRow[] | undefined
  return {
    tf,
    get rows() {
      return (objects ??= listRows(data, names)) as unknown as Training['rows']
    },
    get validation() {
      return (held === undefined
        ? []
        : (heldObjects ??= listRows(held, names))) as unknown as Training['validation']
    },
    weights,
    inputs,
    outputs,
    seed,
    hyperparameters,
    progress: (step) => void parent.report(step),
    fit: makeFit({
      tf,
      seed,
      of,
      data: { ...encoded(data), weights },
      validation: job.frozen === undefined && held !== undefined ? encoded(held) : undefined,
      frozen: job.frozen,
      resume,
      onBatch: parent.yieldToEventLoop,
      onEpoch: async (step, checkpoint) => {
        const { digest } = await artifacts.put('checkpoints', encodeCheckpoint(checkpoint))
        await parent.report({ ...step, checkpoint: digest })
      },
    }),
  }
}

/**
 * Reports an error of the model file with its source location and without retry. A full disk during a checkpoint is not such an error.
 */
async function trainNetwork({ train, name, file }: LoadedModel, training: Training) {
  if (train === undefined)
    throw new DomainError('internal', `the model file ${file} has no training function`)
  try {
    return await withoutExit(file, () => train(training))
  } catch (error) {
    if (isError(error) || isFull(error) || isOutOfMemory(error)) throw error
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
    throw new DomainError('training_failed', `train of ${name} threw: ${stack}`)
  }
}

const isOutOfMemory = (error: unknown): boolean =>
  error instanceof Error && detectOutOfMemory([error.message]) !== undefined

/** A missing, broken or foreign checkpoint costs its epochs but not the training. */
async function findCheckpoint(
  artifacts: Artifacts,
  digest: string | undefined,
  of: string,
): Promise<Checkpoint | undefined> {
  if (digest === undefined) return undefined
  try {
    const checkpoint = decodeCheckpoint(await artifacts.get('checkpoints', digest))
    return checkpoint.of === of ? checkpoint : undefined
  } catch (error) {
    if (isError(error, 'artifact_corrupt')) return undefined
    throw error
  }
}

/** Digests all installed packages and the runtime, because other versions may round differently. */
async function dependenciesDigest(): Promise<string> {
  const lock = digestOf(await readFile(join(checkout, 'package-lock.json')))
  // Model files of a project may import the project's own packages.
  const own = projectFolder === checkout ? undefined : await readLock(projectFolder)
  return digestOfJson({ lock, own, node: process.versions.node, arch: process.arch })
}

/** Undefined for a project without a lock file. */
async function readLock(folder: string): Promise<string | undefined> {
  const lock = await readFile(join(folder, 'package-lock.json')).catch(() => undefined)
  return lock && digestOf(lock)
}

/** The declared packages with their installed versions, and the runtime, for users to compare. */
async function dependenciesOf(): Promise<Record<string, string>> {
  const { dependencies } = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  return { node: process.versions.node, ...dependencies }
}

takeJob<TrainerJob, TrainerStep, TrainerResult>(runTraining)

// Stores a trained network of TensorFlow.js as an artifact.

export interface TrainedNetwork {
  definition: ModelDefinition
  network: LayersModel
  fits: FeatureFit[]
  data: LabelledRows
  training: TrainingFacts
}

/** Stores the files and the manifest and returns the manifest's digest. Throws `artifact_invalid` for a network that cannot serve. */
async function storeNetwork(
  tf: Tensorflow,
  artifacts: Artifacts,
  { network, ...trained }: TrainedNetwork,
): Promise<string> {
  const { definition, fits } = trained
  const encoder = compileEncoder(definition.features, fits)
  const inputs = inputWidthOf(fits)
  checkShape(network, { inputs, outputs: outputWidth(definition.label.output) })
  const files = await saveNetwork(tf, network)
  return storeArtifact(artifacts, {
    ...trained,
    files: {
      'model.json': await artifacts.put('artifacts', files['model.json']),
      'weights.bin': await artifacts.put('artifacts', files['weights.bin']),
    },
    answer: (rows) =>
      answerLists(
        answersOf(tf, network, {
          rows: rows.length,
          inputs,
          encode: (row, into, offset) => encoder(rows[row] ?? {}, into, offset),
        }),
      ),
  })
}

function checkShape(network: LayersModel, expected: { inputs: number; outputs: number }): void {
  // Model files are not type-checked when loaded, so a missing `return` is found here.
  if (!Array.isArray((network as LayersModel | undefined)?.inputs))
    throw new DomainError('artifact_invalid', '`train` must return a network')
  const [input, output] = [network.inputs[0]?.shape ?? [], network.outputs[0]?.shape ?? []]
  const found = { inputs: Number(input[1]), outputs: Number(output[1]) }
  const ranks = [input.length, output.length]
  if (network.inputs.length !== 1 || network.outputs.length !== 1 || ranks.some((rank) => rank !== 2))
    throw new DomainError(
      'artifact_invalid',
      'the network must have one input and one output, each a list of numbers per row',
    )
  if (found.inputs !== expected.inputs || found.outputs !== expected.outputs)
    throw new DomainError(
      'artifact_invalid',
      `the network is ${found.inputs} → ${found.outputs} numbers wide, its features and label are ${expected.inputs} → ${expected.outputs}${expected.outputs === 1 && found.outputs > 1 ? ': several numbers a row are quantities([…]), quantiles of one are quantiles([…])' : ''}`,
    )
}
