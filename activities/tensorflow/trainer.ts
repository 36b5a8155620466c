/**
 * Trains one model on one snapshot and writes one artifact. A new process for each training reads the current model file and frees its
 * memory at the end.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DomainError, isError } from '../../domain/errors.ts'
import { listCells, listRows } from '../../domain/model/columns.ts'
import { outputWidth, inputWidthOf, type FeatureRow } from '../../domain/model/features.ts'
import { compileColumnEncoder, fitFeatures } from '../../domain/model/preprocessing.ts'
import { hasValidation } from '../../domain/model-definition.ts'
import { rowWeights } from '../../domain/training/row-weights.ts'
import { seededRandom } from '../../domain/statistics/random.ts'
import { codeDigest } from '../../models/define/code-digest.ts'
import { withoutExit } from '../../models/define/load-error.ts'
import type { Training } from '../../models/define/model.ts'
import { loadModel, type LoadedModel } from '../../models/index.ts'
import { digestOf, digestOfJson, openArtifacts, type Artifacts } from '../../store/artifacts.ts'
import { isFull } from '../../store/outage.ts'
import { checkout, projectFolder } from '../../temporal.config.ts'
import { storeNetwork } from './store-network.ts'
import { decodeCheckpoint, encodeCheckpoint, type Checkpoint } from './checkpoint.ts'
import { makeFit, type EncodedRows, type FitStep } from './training-loop.ts'
import { takeJob, type Parent } from '../runtime/child-protocol.ts'
import { detectOutOfMemory } from '../runtime/memory-limit.ts'
import { readPart, targetsOf, type LabelledRows } from '../data/rows.ts'
import { loadTensorflow } from './tfjs.ts'

export interface TrainerJob {
  model: string
  modelsDirectory: string
  /** The digest of the model definition that the snapshot was taken with. */
  definitionDigest: string
  snapshotDigest: string
  artifactRoot: string
  seed: number
  /** The hyperparameters of the model file with the overrides of this training. */
  hyperparameters: Training['hyperparameters']
  /** The digest of the checkpoint to resume from. */
  checkpoint?: string
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
}

async function runTraining(job: TrainerJob, parent: Parent<TrainerStep>): Promise<TrainerResult> {
  const artifacts = openArtifacts(job.artifactRoot)
  const model = await loadModel(job.model, job.modelsDirectory)
  if (digestOfJson(model.definition) !== job.definitionDigest)
    throw new DomainError(
      'training_failed',
      `${model.file} differs from the definition that the training began with: retrain, after \`tenure models sync\` where the change is not synced yet`,
    )
  const { definition } = model
  const { hyperparameters } = job
  const code = await codeDigest(model.file, fileURLToPath(import.meta.url))
  const dependencies = await dependenciesDigest()
  const of = digestOfJson({
    code,
    dependencies,
    snapshot: job.snapshotDigest,
    seed: job.seed,
    hyperparameters,
  })
  const path = await artifacts.locate('snapshots', job.snapshotDigest)
  const names = Object.keys(definition.features)
  const { weights: weighing } = definition
  const { output } = definition.label
  const column = weighing?.column
  const [data, held] = await parent.part('load data', async () => [
    await readPart(path, 'train', { names, optional: column === undefined ? [] : [column], output }),
    hasValidation(definition) ? await readPart(path, 'validation', { names, output }) : undefined,
  ])
  const weights =
    weighing &&
    rowWeights(weighing, output, {
      labels: listCells(data.labels[0]),
      cells: column === undefined ? undefined : data.columns[column] && listCells(data.columns[column]),
    })
  await parent.yieldToEventLoop()
  const fits = fitFeatures(data, definition.features)
  const tf = await loadTensorflow()
  const inputs = inputWidthOf(fits)
  const outputs = outputWidth(output)
  const encoded = (rows: LabelledRows): EncodedRows => ({
    rows: rows.rows,
    inputs,
    outputs,
    encode: compileColumnEncoder(rows, definition.features, fits),
    targets: targetsOf(rows.labels, output),
  })
  const resume = await findCheckpoint(artifacts, job.checkpoint, of)
  // Built only for a model file that reads them.
  let objects: FeatureRow[] | undefined
  let heldObjects: FeatureRow[] | undefined
  // Makes unseeded random numbers of a model file repeatable.
  Math.random = seededRandom(job.seed)
  const training: Training = {
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
    seed: job.seed,
    hyperparameters,
    progress: (step) => void parent.report(step),
    fit: makeFit({
      tf,
      seed: job.seed,
      of,
      data: { ...encoded(data), weights },
      validation: held && encoded(held),
      resume,
      onBatch: parent.yieldToEventLoop,
      onEpoch: async (step, checkpoint) => {
        const stored = await artifacts.put('checkpoints', encodeCheckpoint(checkpoint))
        await parent.report({ ...step, checkpoint: stored.digest })
      },
    }),
  }
  const network = await parent.part('fit', () => trainNetwork(model, training))
  const facts = {
    snapshot: job.snapshotDigest,
    seed: job.seed,
    code,
    dependencies,
    hyperparameters,
    rows: data.rows,
  }
  const artifactDigest = await parent.part('write artifact', () =>
    storeNetwork(tf, artifacts, { definition, network, fits, data, training: facts }),
  )
  return {
    artifactDigest,
    codeDigest: code,
    dependenciesDigest: dependencies,
    dependencies: await dependenciesOf(),
    rows: data.rows,
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
