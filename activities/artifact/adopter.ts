/**
 * Makes an artifact of a file that was trained elsewhere. The training rows give its profile and golden rows. Runs in a child process.
 */
import { listedFeatures, type ModelDefinition } from '../../domain/model-definition.ts'
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import { parseDeclaredColumns } from '@tenure/predictors/features'
import { isCode, type Quantizer } from '@tenure/predictors/format-names'
import { parseJson } from '../../domain/parse-json.ts'
import { broughtFacts, totalBytesOf, type Manifest } from '../../domain/model/manifest.ts'
import { getManifest, openArtifacts, type Artifacts } from '../../store/artifacts.ts'
import { readPart, type LabelledRows } from '../data/rows.ts'
import { takeJob, whileAlive } from '../runtime/child-protocol.ts'
import { trainStudent } from '../tensorflow/student.ts'
import { withArtifactReader, type ArtifactReader } from './reader.ts'
import { storeForeign, type StoredForeign, checkReplay } from './store-foreign.ts'
import { DomainError } from '../../domain/errors.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import { isOfNumbers } from '../../domain/tasks/output.ts'
import { bundleText, type BundleOrigin } from '../../domain/model/bundle-origin.ts'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { scalesOfNumbers } from '../../domain/canary/holdback.ts'
import { defaultFidelity } from '../../domain/evaluation/fidelity.ts'
import {
  hasComparableBytes,
  maxAskedRows,
  taughtText,
  type CompressionOrder,
} from '../../domain/model/compression.ts'
import { joinRows, listRows, pickRows, rowReader } from '../../domain/model/columns.ts'
import type { LoggedRequests } from '../../domain/training/logged-requests.ts'
import { type FeatureFit, inputWidthOf, outputWidth } from '@tenure/predictors/features'
import { issueOfForm } from '../../domain/registry/bundle.ts'
import { readTaughtRequests } from './taught-requests.ts'
import { spreadOver, storeArtifact } from './write-artifact.ts'

export interface AdopterJob {
  definition: ModelDefinition
  snapshotDigest: string
  artifactRoot: string
  brought: BroughtArtifact
  quantizer?: Quantizer
  /** The logged requests that a network learns from. */
  requests?: LoggedRequests
}

const maxColumnsBytes = 16_777_216

async function adopt(
  { definition, snapshotDigest, artifactRoot, brought, quantizer, requests }: AdopterJob,
  onBatch: () => Promise<void>,
): Promise<StoredForeign> {
  const artifacts = openArtifacts(artifactRoot)
  const {
    file,
    digest,
    bytes,
    columns,
    trainedOn,
    allowUnknownCategories,
    allowOtherVersions,
    bundle,
    compression,
  } = brought
  const path = await artifacts.locate('snapshots', snapshotDigest)
  const data = await readPart(path, 'train', {
    names: Object.keys(definition.features),
    output: definition.label.output,
  })
  if (bundle !== undefined)
    return withArtifactReader(artifactRoot, async (reader) =>
      storeBundled(artifacts, reader, {
        definition,
        manifest: await getManifest(artifacts, digest),
        data,
        bundle,
      }),
    )
  if (compression !== undefined)
    return withArtifactReader(artifactRoot, async (reader) =>
      storeCompressed(
        artifacts,
        reader,
        {
          definition,
          parent: await getManifest(artifacts, compression.artifact),
          data,
          order: compression,
          quantizer,
          requests,
          snapshotDigest,
        },
        onBatch,
      ),
    )
  const declared =
    columns === undefined
      ? undefined
      : parseDeclaredColumns(
          parseJson((await artifacts.get('artifacts', columns, maxColumnsBytes)).toString('utf8')),
        )
  return withArtifactReader(artifactRoot, (reader) =>
    storeForeign(artifacts, reader, {
      definition,
      files: { [file]: { digest, bytes } },
      declared,
      order: definition.featureOrder,
      data,
      training: {
        ...broughtFacts,
        hyperparameters: {},
        trainedOn,
        allowUnknownCategories,
        allowOtherVersions,
      },
    }),
  )
}

takeJob<AdopterJob, never, StoredForeign>((job, parent) =>
  whileAlive(parent, () => adopt(job, () => parent.yieldToEventLoop())),
)

// Stores the model of a bundle as an artifact of this installation. Replays its golden rows and makes its profile from local rows.

export interface BundledArtifact {
  definition: ModelDefinition
  /** The manifest in the bundle; its files are already in the artifact store. */
  manifest: Manifest
  data: LabelledRows
  bundle: BundleOrigin
}

/** Throws `artifact_invalid` when features, output or golden answers do not match. */
async function storeBundled(
  artifacts: Artifacts,
  reader: ArtifactReader,
  { definition, manifest, data, bundle }: BundledArtifact,
): Promise<StoredForeign> {
  const { features, label } = definition
  const { artifact, library, files, preprocessing: fits, golden, training } = manifest
  // Whoever sends a bundle would run code here.
  const issue = isCode(manifest)
    ? 'the model of the bundle is code: an admin registers it here with its packages'
    : issueOfForm(manifest, { features, output: label.output })
  if (issue !== undefined) throw new DomainError('artifact_invalid', issue)
  const answer = (rows: readonly FeatureRow[]) => reader.answer(manifest, rows)
  await checkReplay({ rows: golden.instances, outputs: golden.outputs }, answer)
  const { hyperparameters, seed } = training
  const artifactDigest = await storeArtifact(artifacts, {
    definition,
    artifact,
    library,
    files,
    fits,
    data,
    training: {
      ...broughtFacts,
      hyperparameters,
      seed,
      trainedOn: bundleText(bundle),
      bundle,
    },
    answer,
  })
  return { artifactDigest, library: library ?? 'tensorflow', unused: [] }
}

// Makes a version of its parent's file. It keeps the columns and the training facts of the parent, and gets golden rows and a profile of its own.

interface CompressedArtifact {
  definition: ModelDefinition
  parent: Manifest
  data: LabelledRows
  order: CompressionOrder
  quantizer?: Quantizer
  requests?: LoggedRequests
  /** Of `data`. */
  snapshotDigest: string
}

/** The rows by which the number of trees, or the scales of a quantized graph, are chosen. */
const comparedRows = 2_000
/** Those from which a pruned network learns, and the numbers that they may have together. */
const [learntRows, learntNumbers] = [10_000, 8_000_000]

/** Throws `artifact_invalid` for a parent that does not fit the model file any more, or whose file cannot be made smaller. */
async function storeCompressed(
  artifacts: Artifacts,
  reader: ArtifactReader,
  compressed: CompressedArtifact,
  onBatch: () => Promise<void>,
): Promise<StoredForeign> {
  const { definition, parent, data, order, quantizer } = compressed
  const { artifact, library, output, preprocessing: fits, unknownCategories, training } = parent
  const issue = issueOfForm(
    parent,
    { features: definition.features, output: definition.label.output },
    order.version,
  )
  if (issue !== undefined) throw new DomainError('artifact_invalid', issue)
  // The form leaves out thresholds, and the child would decide by that of the model file.
  if (canonicalJson(output) !== canonicalJson(definition.label.output))
    throw new DomainError(
      'artifact_invalid',
      `${order.version} has the output ${canonicalJson(output)}, the model file ${canonicalJson(definition.label.output)}: compress a version that was made with this model file`,
    )
  if (order.to === 'distil') return storeStudent(artifacts, reader, compressed, onBatch)
  const rowAt = rowReader(data, Object.keys(definition.features))
  const { files, ...facts } = await reader.compress(
    parent,
    {
      to: order.to,
      trees: order.trees,
      meanDifference: meanDifferenceOf(order, parent, definition),
      quantizer,
    },
    spreadOver(data.rows, order.to === 'prune' ? rowsToLearn(fits) : comparedRows).map(rowAt),
  )
  const answer = (rows: readonly FeatureRow[]) => reader.answer({ ...parent, files, output }, rows)
  const artifactDigest = await storeArtifact(artifacts, {
    definition,
    artifact,
    library,
    files,
    fits,
    data,
    unknownCategories,
    training: { ...training, compression: { ...order, ...facts } },
    answer,
  })
  return { artifactDigest, library: library ?? 'tensorflow', unused: [] }
}

const rowsToLearn = (fits: readonly FeatureFit[]): number =>
  Math.max(comparedRows, Math.min(learntRows, Math.floor(learntNumbers / inputWidthOf(fits))))

/**
 * Makes a version of a small network that learns what its parent answers to the training rows and to logged requests. Throws the errors of
 * `trainStudent`.
 */
async function storeStudent(
  artifacts: Artifacts,
  reader: ArtifactReader,
  { definition, parent, data, order, requests, snapshotDigest }: CompressedArtifact,
  onBatch: () => Promise<void>,
): Promise<StoredForeign> {
  const { version } = order
  const features = listedFeatures(definition)
  const { output } = definition.label
  const places = spreadOver(data.rows, maxAskedRows(parent))
  const names = Object.keys(features)
  const rows = pickRows(data, names, places)
  const answers = await reader.answer(parent, listRows(rows, names))
  const served =
    requests && (await readTaughtRequests(artifacts, reader, { parent, features, requests, snapshotDigest }))
  const lesson = {
    teacher: version,
    data: served === undefined ? rows : joinRows(rows, served.data, names),
    answers: [...answers, ...(served?.answers ?? [])],
  }
  const made = await trainStudent(lesson, { features, output }, onBatch)
  const files = {
    'model.json': await artifacts.put('artifacts', made.files['model.json']),
    'weights.bin': await artifacts.put('artifacts', made.files['weights.bin']),
  }
  const bytes = hasComparableBytes(parent)
    ? { parent: totalBytesOf(parent.files)!, child: totalBytesOf(files)! }
    : undefined
  const student = { files, features: definition.features, output, preprocessing: made.fits }
  const taught = {
    taughtRows: rows.rows,
    taughtRequests: served?.facts ?? (requests && { ...requests, taught: 0, logged: 0 }),
  }
  const artifactDigest = await storeArtifact(artifacts, {
    definition,
    files,
    fits: made.fits,
    data,
    training: {
      ...broughtFacts,
      origin: 'distilled',
      hyperparameters: {},
      trainedOn: `what ${version} answers to ${taughtText(taught)}`,
      compression: { ...order, bytes, ...taught, counts: {} },
    },
    answer: (rows) => reader.answer(student, rows),
  })
  return { artifactDigest, library: 'tensorflow', unused: [] }
}

/** Half of ε, in the unit of the numbers of an answer. */
function meanDifferenceOf(
  { epsilon }: CompressionOrder,
  { output, profile }: Manifest,
  { evaluation: { policy } }: ModelDefinition,
): number {
  const half = (epsilon ?? defaultFidelity(policy, { version: { output, profile } }).epsilon) / 2
  // Of classes, half of the differences of a row sum to its distance.
  const ranges = isOfNumbers(output)
    ? scalesOfNumbers(output, profile)
    : [2 / Math.max(2, outputWidth(output))]
  return half * Math.min(...ranges, Infinity)
}
