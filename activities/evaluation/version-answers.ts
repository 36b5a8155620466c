/**
 * Gets predictions of versions, each with its own preprocessing. Each network, and the process that reads other formats, is opened once.
 */
import { inputWidthOf, outputNames, outputWidth } from '@tenure/predictors/features'
import type { LayersModel } from '@tensorflow/tfjs'
import { withOutputs, type ModelAnswers } from '../../domain/metrics/answers.ts'
import { formatNameOf } from '@tenure/predictors/format-names'
import { listCells, listRows, requireColumn, type ColumnTable } from '../../domain/model/columns.ts'
import { modelFeatures } from '../../domain/model/features.ts'
import { computedColumns } from '../../domain/model/prepare.ts'
import { openPreparer, withComputedCells, type CellsOf, type Preparer } from '../data/prepared-rows.ts'
import { fileOf, type Manifest } from '../../domain/model/manifest.ts'
import { compileColumnEncoder } from '../../domain/model/preprocessing.ts'
import { describeForm } from '../../domain/registry/model-card.ts'
import { getManifest, openArtifacts, type Artifacts } from '../../store/artifacts.ts'
import { openArtifactReader, type ArtifactReader } from '../artifact/reader.ts'
import { whileAlive, type Parent } from '../runtime/child-protocol.ts'
import type { TestedVersion } from './behaviour-tests.ts'
import { answersOf, loadTensorflow, openNetwork, type Tensorflow } from '../tensorflow/tfjs.ts'
import { placesIn, numbersOf, correctionOf } from '../../domain/tasks/tasks.ts'
import type { Output } from '../../domain/tasks/output.ts'

export interface AskOptions {
  /** Takes the computed columns of the rows as they are. Default: they are computed as the version defines them. */
  isPrepared?: boolean
}

export interface VersionAnswers {
  artifacts: Artifacts
  /** Called once per manifest. */
  manifestOf: (digest: string) => Promise<Manifest>
  /** Throws a `RangeError` for a column that the rows lack, and `artifact_invalid`. */
  ask: (digest: string, rows: ColumnTable, options?: AskOptions) => Promise<ModelAnswers>
  close: () => Promise<void>
}

export function openVersionAnswers(
  artifactRoot: string,
  parent: Pick<Parent<never>, 'yieldToEventLoop'>,
): VersionAnswers {
  const artifacts = openArtifacts(artifactRoot)
  const manifests = new Map<string, Promise<Manifest>>()
  const networks = new Map<string, LayersModel>()
  let tensorflow: Tensorflow | undefined
  let reader: ArtifactReader | undefined
  const preparers = new Map<string, Promise<Preparer>>()

  const manifestOf = (digest: string): Promise<Manifest> => {
    const found = manifests.get(digest) ?? getManifest(artifacts, digest)
    manifests.set(digest, found)
    return found
  }

  const networkOf = async (tf: Tensorflow, digest: string, manifest: Manifest): Promise<LayersModel> => {
    const found = networks.get(digest)
    if (found !== undefined) return found
    const network = await openNetwork(tf, {
      'model.json': await artifacts.get('artifacts', fileOf(manifest, 'model.json').digest),
      'weights.bin': await artifacts.get('artifacts', fileOf(manifest, 'weights.bin').digest),
    })
    networks.set(digest, network)
    return network
  }

  /** Uses the code of a replica in a child process; after an error, the next call starts another process. */
  const askReader = (manifest: Manifest, rows: ColumnTable): Promise<number[][]> =>
    whileAlive(parent, async () => {
      const asked = (reader ??= openArtifactReader(artifactRoot))
      try {
        return await asked.answer(manifest, listRows(rows, Object.keys(modelFeatures(manifest.features))))
      } catch (error) {
        reader = undefined
        await asked.close()
        throw error
      }
    })

  const prepared = async (
    digest: string,
    { features }: Manifest,
    rows: ColumnTable,
  ): Promise<ColumnTable> => {
    if (computedColumns(features).length === 0) return rows
    const opened = preparers.get(digest) ?? openPreparer(features)
    preparers.set(digest, opened)
    const preparer = await opened
    const cells: CellsOf = (name) => listCells(requireColumn(rows, name))
    const computed = await preparer.compute(cells, rows.rows)
    const failure = await preparer.failureIn(computed, cells)
    if (failure !== undefined) throw new RangeError(failure.message)
    return withComputedCells(rows, computed)
  }

  return {
    artifacts,
    manifestOf,
    async ask(digest, given, { isPrepared = false } = {}) {
      const manifest = await manifestOf(digest)
      const rows = isPrepared ? given : await prepared(digest, manifest, given)
      if (formatNameOf(manifest) !== 'tfjs-layers') return askReader(manifest, rows)
      const tf = (tensorflow ??= await loadTensorflow())
      const network = await networkOf(tf, digest, manifest)
      const encode = compileColumnEncoder(rows, manifest.features, manifest.preprocessing)
      const inputs = inputWidthOf(manifest.preprocessing)
      const answers = answersOf(tf, network, { rows: rows.rows, inputs, encode })
      correctionOf(manifest.output)?.(answers.values, answers.rows)
      await parent.yieldToEventLoop()
      return answers
    },
    async close() {
      for (const network of networks.values()) network.dispose()
      await reader?.close()
      for (const opened of preparers.values()) (await opened.catch(() => undefined))?.close()
    },
  }
}

/** The predictions of a version, with its numbers in the order of `target`. Throws a RangeError for a version that lacks one of them. */
export async function askFor(
  versions: Pick<VersionAnswers, 'ask' | 'manifestOf'>,
  digest: string,
  rows: ColumnTable,
  target: Output,
): Promise<ModelAnswers> {
  const { output } = await versions.manifestOf(digest)
  const places = placesIn(output, target)
  const lacking = outputNames(target).filter((_, at) => places[at]! < 0)
  if (places.includes(-1)) throw new RangeError(`it does not answer ${lacking.join(', ') || target.kind}`)
  const answers = await versions.ask(digest, rows)
  const isSame = places.length === outputWidth(output) && places.every((place, at) => place === at)
  return isSame ? answers : withOutputs(answers, places)
}

/** The predictions of the champion, with the numbers that both versions answer; or why they cannot be compared. */
export async function askChampion(
  versions: VersionAnswers,
  digest: string,
  rows: ColumnTable,
  { own, given, shared }: { own: Output; given?: Output | undefined; shared: Output | undefined },
): Promise<ModelAnswers | string> {
  if (shared !== undefined) return askReleased(versions, digest, rows, shared)
  return `the champion answers ${describeForm(given!)}, and the label is ${describeForm(own)}, which cannot be compared: keep what it answers, or give the model another name`
}

/**
 * The predictions of a released version, with its numbers in the order of `target`; or why it cannot score: the snapshot lacks one of its
 * features.
 */
export async function askReleased(
  versions: VersionAnswers,
  digest: string,
  rows: ColumnTable,
  target: Output,
): Promise<ModelAnswers | string> {
  try {
    return await askFor(versions, digest, rows, target)
  } catch (error) {
    if (error instanceof RangeError)
      return `the champion cannot score these rows: ${error.message}; keep its columns in the source query`
    throw error
  }
}

/** A version for behaviour tests. Their rows list several numbers in the order of the model file. */
export async function testedVersion(
  versions: VersionAnswers,
  digest: string,
  output: Output,
): Promise<TestedVersion> {
  const manifest = await versions.manifestOf(digest)
  if (numbersOf(output).length === 0 || numbersOf(manifest.output).length === 0)
    return { manifest, answer: (table) => versions.ask(digest, table) }
  return {
    manifest: { ...manifest, output },
    answer: (table) => askFor(versions, digest, table, output),
  }
}
