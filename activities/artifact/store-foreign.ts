/**
 * Stores a model of another library, brought by a user or written by a training program, as an artifact. Replays the library's own
 * answers first.
 */
import type { DeclaredColumn, UnknownRows } from '@tenure/predictors/features'
import {
  maxUnknownShare,
  unknownCategoriesText,
  type UnknownCategories,
} from '../../domain/model/brought-artifact.ts'
import { countsOf } from '../../domain/model/columns.ts'
import { DomainError, quotedName } from '../../domain/errors.ts'
import { findDifference } from '../../domain/model/golden-answers.ts'
import { percentText } from '../../domain/figures.ts'
import { modelFeatures, type FeatureRow, type Features } from '../../domain/model/features.ts'
import { unreadFits } from '../../domain/model/preprocessing.ts'
import type { Manifest, TrainingFacts } from '../../domain/model/manifest.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import type { LabelledRows } from '../data/rows.ts'
import type { ArtifactReader } from './reader.ts'
import { storeArtifact } from './write-artifact.ts'
import type { Output } from '../../domain/tasks/output.ts'
import { correctionOf } from '../../domain/tasks/tasks.ts'

/** Rows with the answers that the library gave when the model was saved. */
export interface ReplayedAnswers {
  rows: readonly FeatureRow[]
  /** One list of outputs per row. */
  outputs: readonly (readonly number[])[]
}

export interface ForeignArtifact {
  definition: ModelDefinition
  /** One file of `broughtFileNames`, in the artifact store. */
  files: Manifest['files']
  /** From `columns.json`. */
  declared?: DeclaredColumn[]
  /** The features in the order of the model file, for a file that does not name its columns; for a training, in the order of its job. */
  order?: string[]
  replay?: ReplayedAnswers
  /** The training rows of the snapshot, for the profile and the golden rows. */
  data: LabelledRows
  training: TrainingFacts
  /** What libraries have warned of in the training. */
  warnings?: readonly string[]
}

const maxWarnings = 20

export interface StoredForeign {
  artifactDigest: string
  library: string
  /** Features that the model does not use. */
  unused: string[]
}

/** Throws `artifact_invalid`, naming the column, the row or the answer that does not fit. */
export async function storeForeign(
  artifacts: Artifacts,
  reader: ArtifactReader,
  { definition, files, declared, order, replay, data, training, warnings = [] }: ForeignArtifact,
): Promise<StoredForeign> {
  const features = modelFeatures(definition.features)
  const { output } = definition.label
  const { artifact, library, fits, unused, unknown } = await reader.bind({
    files,
    features,
    order: order?.filter((name) => name in features),
    output,
    declared,
    texts: textsOf(features, data),
  })
  // A training program has read these rows, and may leave categories out on purpose.
  const isBrought = training.origin === 'brought'
  if (isBrought && training.allowUnknownCategories === undefined) refuseUnknown(unknown, data.rows)
  const manifest = {
    artifact,
    files,
    features,
    output,
    preprocessing: fits,
    checksValues: true,
    allowsOtherVersions: training.allowOtherVersions !== undefined,
  }
  const answer = (rows: readonly FeatureRow[]) => reader.answer(manifest, rows)
  if (replay !== undefined) await checkReplay(corrected(replay, output), answer)
  const unknownCategories = isBrought ? sharesOf(unknown, { rows: data.rows, definition }) : undefined
  const facts = async () => {
    const { types, warnings: told = [] } = await reader.facts(manifest)
    return { types, warnings: [...new Set([...warnings, ...told])].slice(0, maxWarnings) }
  }
  const made = { definition, artifact, library, files, data, unknownCategories, training, answer, facts }
  const all = [...fits, ...unreadFits(definition.features)]
  return { artifactDigest: await storeArtifact(artifacts, { ...made, fits: all }), library, unused }
}

/** The maximum number of characters that are compared with the categories of a model, which is done in a process of limited memory. */
const maxComparedCharacters = 16_777_216

/** Returns the texts of the features that have some, with their rows, leaving out those that exceed the limit. */
function textsOf(features: Features, { columns }: LabelledRows): Record<string, [string, number][]> {
  const found: Record<string, [string, number][]> = {}
  let left = maxComparedCharacters
  for (const name of Object.keys(features)) {
    const column = columns[name]
    if (column?.kind !== 'text') continue
    const counts = [...countsOf(column).counts]
    const size = counts.reduce((sum, [{ length }]) => sum + length, 0)
    if (size > left) continue
    left -= size
    found[name] = counts
  }
  return found
}

const shareOf = ({ feature, rows, examples }: UnknownRows, all: number): UnknownCategories => ({
  feature,
  share: rows / all,
  examples,
})

/** Throws `artifact_invalid` for a feature of which the model does not know the categories of too many rows. */
function refuseUnknown(unknown: readonly UnknownRows[], all: number): void {
  const many = unknown.find(({ rows }) => rows > maxUnknownShare * all)
  if (many === undefined) return
  const own = many.known === undefined ? '' : `, such as ${many.known.map(quotedName).join(', ')}`
  throw new DomainError(
    'artifact_invalid',
    `${unknownCategoriesText(shareOf(many, all))} (at most ${percentText(maxUnknownShare)}): write the values in the source as the model has them${own}, or allow it with --allow-unknown-categories REASON`,
  )
}

/** Returns the shares for the manifest, the largest first; undefined without any. Values of data subjects are left out. */
function sharesOf(
  unknown: readonly UnknownRows[],
  { rows, definition: { subject } }: { rows: number; definition: ModelDefinition },
): UnknownCategories[] | undefined {
  const shares = unknown
    .map((each) => shareOf(subject === undefined ? each : { ...each, examples: [] }, rows))
    .toSorted((one, other) => other.share - one.share)
  return shares.length === 0 ? undefined : shares
}

/** The answers of a library as predictions have them: crossing quantiles are sorted, for example. */
function corrected({ rows, outputs }: ReplayedAnswers, output: Output): ReplayedAnswers {
  const found = outputs.map((each) => [...each])
  for (const each of found) correctionOf(output)?.(each, 1)
  return { rows, outputs: found }
}

/** Throws `artifact_invalid` for an answer that differs from the library's. */
export async function checkReplay(
  { rows, outputs }: ReplayedAnswers,
  answer: (rows: readonly FeatureRow[]) => Promise<number[][]>,
): Promise<void> {
  if (rows.length !== outputs.length)
    throw new DomainError('artifact_invalid', `${rows.length} rows to replay have ${outputs.length} answers`)
  const given = await answer(rows)
  for (const [row, expected] of outputs.entries()) {
    const width = given[row]?.length ?? 0
    if (expected.length !== width)
      throw new DomainError(
        'artifact_invalid',
        `row ${row} of the replayed answers has ${expected.length} outputs, the model gives ${width}`,
      )
  }
  const differing = findDifference(outputs, given)
  if (differing === undefined) return
  const { row, output, found, expected } = differing
  throw new DomainError(
    'artifact_invalid',
    `row ${row} of the replayed answers gives ${found} at output ${output}, its library gave ${expected}: ${JSON.stringify(rows[row]).slice(0, 500)}`,
  )
}
