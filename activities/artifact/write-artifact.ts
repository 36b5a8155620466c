/** Writes the manifest of a model of any format: its inputs, outputs, golden rows and profile. */
import type { FeatureFit } from '@tenure/predictors/features'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import {
  cellOf,
  countsOf,
  asDoubles,
  requireColumn,
  rowReader,
  type CellColumn,
} from '../../domain/model/columns.ts'
import { DomainError, quotedName } from '../../domain/errors.ts'
import { partProfiles } from '../../domain/model/feature-parts.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import { findDifference, findLargest } from '../../domain/model/golden-answers.ts'
import { computedColumns } from '../../domain/model/prepare.ts'
import { isCode, isRemote, type ArtifactFormatName } from '@tenure/predictors/format-names'
import type { Manifest, TrainingFacts } from '../../domain/model/manifest.ts'
import {
  categoryProfile,
  countedProfile,
  numberProfile,
  withCycle,
  type Profile,
  type ReferenceProfile,
} from '../../domain/model/reference-profile.ts'
import { putManifest, type Artifacts } from '../../store/artifacts.ts'
import { zeroForMissing, type LabelledRows } from '../data/rows.ts'
import { isOfNumbers, type Output } from '../../domain/tasks/output.ts'
import {
  scorePlace,
  decisionNames,
  decisionOf,
  numbersOf,
  correctionOf,
  taskOf,
} from '../../domain/tasks/tasks.ts'

const goldenRows = 8
/** Rows for the score profile; enough for its deciles. */
const scoredRows = 20_000

/** A model that was trained here or brought by a user and has no manifest yet. */
export interface MadeArtifact {
  definition: ModelDefinition
  /** Default: TensorFlow.js layers. */
  artifact?: ArtifactFormatName
  library?: string
  /** In the artifact store. */
  files: Manifest['files']
  fits: FeatureFit[]
  data: LabelledRows
  unknownCategories?: Manifest['unknownCategories']
  training: TrainingFacts
  /** Computes the answers of the model itself: one list of outputs per row. */
  answer: (rows: readonly FeatureRow[]) => number[][] | Promise<number[][]>
  /** What the model tells of itself after all answers. */
  facts?: () => Promise<Pick<Manifest, 'types' | 'warnings'>>
}

/** Stores the manifest, with golden rows and profile, and returns its digest. Throws `artifact_invalid` for a model that cannot serve. */
export async function storeArtifact(artifacts: Artifacts, made: MadeArtifact): Promise<string> {
  const { definition, artifact, library, files, fits, data, unknownCategories, training } = made
  const { output } = definition.label
  const answer = async (rows: readonly FeatureRow[]) => {
    const answers = await made.answer(rows)
    for (const each of answers) correctionOf(output)?.(each, 1)
    return answers
  }
  const rowAt = rowReader(data, Object.keys(definition.features))
  const spread = (most: number) => spreadOver(data.rows, most).map(rowAt)
  const instances =
    definition.golden.length > 0 ? definition.golden : chooseGolden(definition, spread(goldenRows))
  const outputs = await answer(instances)
  checkAnswers(definition, instances, outputs)
  // Formats that are no code compute each row by itself.
  if (isCode({ artifact })) await checkAlone(instances, outputs, answer)
  if (isRemote({ artifact })) await checkAgain(instances, outputs, answer)
  const profile = profileOf(definition, data, await answer(spread(scoredRows)))
  const { types, warnings = [] } = (await made.facts?.()) ?? {}
  return putManifest(artifacts, {
    format: 'tenure-artifact@1',
    model: definition.name,
    artifact,
    library,
    features: definition.features,
    featureOrder: definition.featureOrder,
    output,
    preprocessing: fits,
    files,
    golden: { instances, outputs },
    profile,
    unknownCategories,
    types,
    warnings: warnings.length === 0 ? undefined : warnings,
    training,
  })
}

/** Checks that outputs are valid. Otherwise the first production requests would reveal it. */
function checkAnswers(
  { label: { output } }: ModelDefinition,
  rows: readonly FeatureRow[],
  answers: readonly number[][],
): void {
  for (const [at, answer] of answers.entries())
    if (!isAnswer(output, answer))
      throw new DomainError(
        'artifact_invalid',
        `the model returns [${answer.join(', ')}], expected a ${taskOf(output).expects}${whereMissing(rows[at]!, answer)}`,
      )
}

/** The golden rows that are asked alone. */
const rowsAlone = 3

/** Checks that a row alone gets the answer that it gets among others, because a request has any number of rows. */
async function checkAlone(
  rows: readonly FeatureRow[],
  answers: readonly number[][],
  answer: MadeArtifact['answer'],
): Promise<void> {
  for (const at of spreadOver(rows.length, rowsAlone)) {
    const [row, among] = [rows[at]!, answers[at]!]
    const [alone = []] = await answer([row])
    if (findDifference([alone], [among]) === undefined) continue
    throw new DomainError(
      'artifact_invalid',
      `the model answers the same row with [${alone.join(', ')}] alone and with [${among.join(', ')}] among others, and a request has any number of rows: encode and scale by what training has learnt, not by the rows that are asked, and draw no random numbers`,
    )
  }
}

/** Checks that a server answers the same rows alike. Its random answers would pass a gate by chance, and fail the golden rows of a release. */
async function checkAgain(
  rows: readonly FeatureRow[],
  answers: readonly number[][],
  answer: MadeArtifact['answer'],
): Promise<void> {
  const differing = findLargest(answers, await answer(rows))
  if (differing === undefined) return
  const { row, output, found, expected } = differing
  throw new DomainError(
    'artifact_invalid',
    `the endpoint answers the same rows in two ways: golden row ${row} gives ${expected} at output ${output}, and ${found} when it is asked again, which is the largest difference of ${rows.length} rows. Have its server draw no random numbers: of a completion, one word at temperature 0 by a fixed seed; of another model, no dropout, sampling or augmentation`,
  )
}

/** The usual cause of NaN for a row is its missing values. */
function whereMissing(row: FeatureRow, answer: readonly number[]): string {
  const missing = Object.keys(row).filter((name) => row[name] === null)
  if (missing.length === 0 || answer.every(Number.isFinite)) return ''
  return `, for a row without ${missing.map(quotedName).join(', ')}: impute missing values in the model, give each a "fill" in columns.json, or declare the features without missing: 'fill'`
}

function isAnswer(output: Output, answer: readonly number[]): boolean {
  if (isOfNumbers(output)) return answer.every(Number.isFinite)
  if (!answer.every((value) => value >= 0 && value <= 1)) return false
  return !taskOf(output).sumsToOne || Math.abs(answer.reduce((sum, value) => sum + value, 0) - 1) < 1e-4
}

/** Chooses rows spread evenly over the training rows, and one row with every optional value missing, from which no column is computed. */
function chooseGolden({ features }: ModelDefinition, chosen: FeatureRow[]): FeatureRow[] {
  if (computedColumns(features).length > 0) return chosen
  const fillable = Object.entries(features).filter(([, feature]) => feature.missing === 'fill')
  const first = chosen[0]
  if (first === undefined || fillable.length === 0) return chosen
  return [...chosen, { ...first, ...Object.fromEntries(fillable.map(([name]) => [name, null])) }]
}

/** The places of at most `most` rows, spread evenly over all. */
export function spreadOver(rows: number, most: number): number[] {
  const count = Math.min(most, rows)
  return Array.from({ length: count }, (_, index) => Math.floor((index * rows) / count))
}

function profileOf(
  { features, label, monitor }: ModelDefinition,
  data: LabelledRows,
  scores: number[][],
): ReferenceProfile {
  const { output } = label
  const numbers = (name: string, column: CellColumn) => numberProfile(name, asDoubles(column))
  const texts = (name: string, column: CellColumn) => countedProfile(name, countsOf(column))
  const timed = (profile: Profile, column: CellColumn) =>
    withCycle(profile, (row) => cellOf(column, row), data.timesMs)
  const scoredMs =
    data.timesMs && Float64Array.from(spreadOver(data.rows, scoredRows), (row) => data.timesMs![row]!)
  const timedScore = <P extends Profile>(profile: P, values: readonly (number | string | null)[]) =>
    withCycle(profile, (row) => values[row] ?? null, scoredMs)
  const scoreOf = (name: string, place: number) => {
    const values = scores.map((answer) => answer[place] ?? null)
    return timedScore(numberProfile(name, values), values)
  }
  const decided = scores.map((answer) => decisionNames(output)[decisionOf(output, answer)!] ?? null)
  const tokens: Record<string, readonly string[]> = {}
  const inputs = {
    rows: data.rows,
    everyMs: monitor?.countMs,
    features: Object.entries(features).flatMap(([name, { kind }]) => {
      const column = requireColumn(data, name)
      if (kind === 'number') return timed(numbers(name, column), column)
      if (kind === 'category') return timed(texts(name, column), column)
      const parts = partProfiles(name, kind, column)
      if (parts.tokens !== undefined) tokens[name] = parts.tokens
      return parts.profiles
    }),
    ...(Object.keys(tokens).length > 0 && { tokens }),
  }
  const names = numbersOf(output)
  if (names.length > 0)
    return {
      ...inputs,
      scores: names.map(scoreOf),
      labels: names.map((name, place) => numbers(name, data.labels[place]!)),
    }
  const { labelKind } = taskOf(output)
  return {
    ...inputs,
    score:
      labelKind === 'text'
        ? timedScore(categoryProfile('score', decided), decided)
        : scoreOf('score', scorePlace(output)),
    // The deciles of a rare class are all 0: compared as a number, the class could grow tenfold within one bin.
    label:
      labelKind === 'number'
        ? numbers('label', data.labels[0])
        : texts(
            'label',
            labelKind === 'text'
              ? data.labels[0]
              : { kind: 'number', values: zeroForMissing(data.labels[0]) },
          ),
  }
}
