/**
 * Builds the card of a version (purpose, provenance, performance, limitations) from the stored facts of the version, so that page,
 * file and API response agree.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import { formatNameOf, isCode, isRemote } from '@tenure/predictors/format-names'
import type { QualificationCost } from '../model/cost.ts'
import type { LoadTest } from '../model/load-test.ts'
import { maxBytesOf, maxLengthOf, type Features } from '../model/features.ts'
import type { GateReport } from '../evaluation/gate.ts'
import { compressionText } from '../evaluation/compression.ts'
import { rowsText } from '../evaluation/fidelity.ts'
import { metricVerdictText } from '../evaluation/verdict-words.ts'
import { fairnessText } from '../evaluation/fairness.ts'
import { worstSlicesFirst } from '../evaluation/slices.ts'
import { firstNames } from '../errors.ts'
import { totalBytesOf, type Manifest } from '../model/manifest.ts'
import { refitText, type RefitLineage } from '../training/refit.ts'
import type { VersionLineage } from './version.ts'
import type { VersionStatus } from './version-query.ts'
import type { Output } from '../tasks/output.ts'
import { standInText } from '../tasks/judged-words.ts'
import { taskOf, thresholdOf } from '../tasks/tasks.ts'

export interface CardSource {
  version: string
  model: string
  /** The description in the model file. */
  about?: string
  /** The person or team that answers for the model, and its risk class. */
  owner?: string
  risk?: 'high'
  /** What it took before its newest release, beside the champion of that time. */
  cost?: QualificationCost
  loadTest?: LoadTest
  status: VersionStatus
  /** Why its turn in the release queue came to nothing. */
  notReleased?: string
  createdAt: string
  createdBy: string
  knownGoodAt?: string
  rolledBackAt?: string
  artifactDigest: string
  /** Incomplete for artifacts made elsewhere. */
  manifest: Partial<Manifest>
  lineage: Partial<VersionLineage>
  /** What its training had installed: package → version, with `python` or `node`. */
  dependencies?: Record<string, string>
  evaluation?: { id: string; verdict: string; baselineVersion?: string; report: Partial<GateReport> }
}

export type ModelCard = ReturnType<typeof modelCard>

/** Builds the card; null means unknown. */
export function modelCard(source: CardSource) {
  const { manifest, lineage, evaluation } = source
  const report = evaluation?.report
  const { files, output } = manifest
  const weights = files?.['weights.bin']
  return {
    format: 'tenure-card@1' as const,
    version: source.version,
    model: source.model,
    about: source.about ?? null,
    owner: source.owner ?? null,
    risk: source.risk ?? null,
    status: source.status,
    notReleased: source.notReleased ?? null,
    created: {
      at: source.createdAt,
      by: source.createdBy,
      reason: lineage.reason ?? null,
      note: lineage.note ?? null,
      requestedBy: lineage.requestedBy ?? null,
    },
    knownGoodAt: source.knownGoodAt ?? null,
    rolledBackAt: source.rolledBackAt ?? null,
    artifact: {
      digest: source.artifactDigest,
      format: formatNameOf(manifest),
      library: manifest.library ?? null,
      /** Whether it is code that a process of its own runs. */
      isCode: isCode(manifest),
      /** Whether a server outside of this system answers. */
      isRemote: isRemote(manifest),
      bytes: totalBytesOf(files) ?? null,
      // Four bytes per weight.
      parameters: weights === undefined ? null : Math.floor(weights.bytes / 4),
    },
    asks: asksOf(manifest),
    answers: output === undefined ? 'unknown' : describeOutput(output),
    data: {
      origin: originOf(lineage),
      trainedOn: lineage.trainedOn ?? null,
      /** The parent, the method and the figures beside it; null unless the version is another one made smaller. */
      compressed:
        report?.compression === undefined
          ? null
          : `${compressionText(report.compression)}, compared on ${rowsText(report.compression.fidelity)}`,
      // The released weights have these; those of the judged ones are apart.
      ...dataOf(source, lineage.refit),
      asOf: lineage.asOf ?? null,
      /** What was judged and on what the released weights were trained; null unless they were refitted. */
      refit: refitText(lineage) ?? null,
      /** The data of the weights that the gate has judged; null unless others were released. */
      judged: lineage.refit === undefined ? null : dataOf(source),
      testRows: lineage.rows?.test ?? null,
    },
    training: {
      // That of an imported version is stated by the installation that trained it.
      code: lineage.code ?? lineage.bundle?.code ?? null,
      dependencies: lineage.dependencies ?? null,
      packages: source.dependencies ?? {},
      seed: lineage.seed ?? null,
      hyperparameters: lineage.hyperparameters ?? {},
      /** Hyperparameters that the request set instead of the model file's. */
      overrides: lineage.overrides ?? {},
    },
    evaluation: evaluation === undefined ? null : evaluationOf(evaluation),
    /** Measured by the checks before its newest release; null before them. */
    cost: source.cost ?? null,
    /** The last load test; null without one. */
    loadTest: source.loadTest ?? null,
    /** The limitations of the version. */
    limits: limitsOf(source),
  }
}

/** The data of the weights that the gate has judged, or of those that a refit has trained after it. */
const dataOf = ({ lineage, manifest }: CardSource, refit?: RefitLineage) => ({
  snapshot: (refit ?? lineage).snapshot ?? null,
  /** When the newest training event happened. */
  newestEvent: (refit ?? lineage).newestEvent ?? null,
  trainRows: (refit === undefined ? lineage.rows?.train : refit.rows) ?? manifest.training?.rows ?? null,
})

/** Distilled networks were stored as brought before they had an origin of their own. */
const originOf = ({ compression, origin }: Partial<VersionLineage>): 'trained' | 'brought' | 'distilled' =>
  compression?.to === 'distil' ? 'distilled' : (origin ?? 'trained')

const asksOf = ({ features = {}, featureOrder = [], preprocessing = [], types = {} }: Partial<Manifest>) =>
  featureOrder.map((name) => {
    const feature = features[name]!
    const fit = preprocessing.find((each) => each.name === name)
    return {
      name,
      kind: feature.kind,
      /** Its type in the training frame of a model that is code, as pandas names it; null where nothing tells it. */
      dtype: types[name] ?? null,
      unit: feature.kind === 'number' ? (feature.unit ?? null) : null,
      range: rangeOf(feature),
      missing: missingOf(feature, fit),
      about: feature.about ?? null,
    }
  })

function missingOf({ sql, missing }: Features[string], fit: FeatureFit | undefined): string {
  if (sql !== undefined) return `computed as ${sql}`
  return missing === 'fill' ? fillOf(fit) : 'rejected'
}

/** How a missing value is handled: training fits the fill of a network, while trees and most graphs take the missing value itself. */
function fillOf(fit: FeatureFit | undefined): string {
  if (fit === undefined || (fit.kind === 'number' && fit.unread === true)) return 'accepted'
  if (fit.kind === 'number')
    return fit.fill === null ? 'left to the model' : `imputed as ${Number(fit.fill.toPrecision(4))}`
  return (fit.encoding ?? 'one-hot') === 'one-hot' ? 'as an unknown value' : 'left to the model'
}

function rangeOf(feature: Features[string]): string | null {
  if (feature.kind === 'category') return feature.values === undefined ? null : feature.values.join(', ')
  if (feature.kind === 'text') return `up to ${maxLengthOf(feature)} characters`
  if (feature.kind === 'vector') return `${feature.length} numbers`
  if (feature.kind === 'image') return `up to ${maxBytesOf(feature)} bytes`
  const { min, max } = feature
  if (min === undefined && max === undefined) return null
  return min === undefined ? `up to ${max}` : max === undefined ? `from ${min}` : `${min} to ${max}`
}

/** What a version predicts, in words. */
export function describeOutput(output: Output): string {
  const threshold = thresholdOf(output)
  return `${describeForm(output, Infinity)}${threshold === undefined ? '' : `; positive from ${threshold}`}`
}

/** What callers read, in words for a message: without the threshold, and with the first names of many. */
export const describeForm = (output: Output, maxNames = 20): string =>
  taskOf(output).described(output, (names) => firstNames(names, maxNames))

const metricFields = [
  'metric',
  'champion',
  'challenger',
  'beside',
  'delta',
  'low',
  'high',
  'floor',
  'floorMet',
  'verdict',
] as const
const sliceFields = ['name', 'rows', 'champion', 'challenger', 'delta', 'verdict'] as const

function evaluationOf({ verdict, baselineVersion, report }: CardSource['evaluation'] & object) {
  const {
    metrics = [],
    slices = [],
    calibration,
    fairness = [],
    reasons = [],
    warnings = [],
    tests = [],
    importance,
  } = report
  return {
    verdict,
    against: baselineVersion ?? null,
    rows: report.rows ?? null,
    metrics: metrics.map((row) => ({
      ...fieldsOf(row, metricFields),
      /** The verdict in words; a metric that decided nothing has none. */
      result: metricVerdictText(row, report.policy),
    })),
    /** The metric that compares slices; null for a report without a policy. */
    sliceMetric: report.policy?.slices.metric ?? null,
    slices: worstSlicesFirst(slices, report.policy?.slices.metric).map((row) => fieldsOf(row, sliceFields)),
    calibration: calibration
      ? { ...fieldsOf(calibration.challenger, ['brier', 'ece']), verdict: calibration.verdict }
      : null,
    fairness: fairness.map((row) => ({
      ...fieldsOf(row, ['attribute', 'verdict']),
      finding: fairnessText(row),
      measures: row.measures.map((measure) => fieldsOf(measure, ['name', 'limit', 'estimate', 'verdict'])),
    })),
    /** The behaviour tests of the model file. */
    tests: tests.map(({ name, kind, challenger }) => ({
      name,
      kind,
      ...fieldsOf(challenger, ['verdict', 'message']),
    })),
    /** Permutation importance, the largest first. */
    importance: importance ?? null,
    reasons: reasons.map(({ message }) => message),
    warnings: warnings.map(({ message }) => message),
  }
}

const fieldsOf = <T, K extends keyof T>(row: T, fields: readonly K[]) =>
  Object.fromEntries(fields.map((field) => [field, row[field]])) as Pick<T, K>

function limitsOf({ manifest, lineage, evaluation, rolledBackAt, about, owner }: CardSource): string[] {
  const limits: string[] = []
  if (rolledBackAt !== undefined) limits.push(`Rolled back at ${rolledBackAt}; never routed again.`)
  if (lineage.breakGlass !== undefined)
    limits.push('The gate refused this version, and an admin registered it by break-glass.')
  if (originOf(lineage) === 'brought')
    limits.push('Trained elsewhere: its training rows and its code are not known here.')
  if (lineage.compression !== undefined)
    limits.push(`Made to answer like ${lineage.compression.version}, with the limitations of that version.`)
  for (const flood of lineage.floods ?? []) limits.push(`${flood}.`)
  if (about === undefined) limits.push('The model file has no description.')
  if (owner === undefined) limits.push('The model file names no owner.')
  if (evaluation === undefined) limits.push('No evaluation is stored.')
  const standIn = evaluation?.report.policy && standInText(evaluation.report.policy)
  if (standIn !== undefined) limits.push(`${standIn}.`)
  const thin = (evaluation?.report.slices ?? []).filter(
    ({ verdict }) => verdict === 'insufficient' || verdict === 'missing',
  )
  if (thin.length > 0)
    limits.push(`Too few test rows to evaluate: ${thin.map(({ name }) => name).join(', ')}.`)
  if ((evaluation?.report.fairness ?? []).length === 0)
    limits.push('Fairness between groups was not measured.')
  if (evaluation !== undefined && evaluation.report.calibration == null)
    limits.push('Calibration was not measured.')
  if (manifest.profile === undefined)
    limits.push('No profile of the training data is stored, so drift cannot be measured.')
  if (lineage.refit !== undefined)
    limits.push(
      'The metrics are those of the judged weights; the released ones were refitted afterwards and have seen the test rows.',
    )
  const newestEvent = lineage.refit === undefined ? lineage.newestEvent : lineage.refit.newestEvent
  if (lineage.asOf !== undefined && lineage.origin === undefined)
    limits.push(
      newestEvent === undefined
        ? `Trained on data as of ${lineage.asOf}.`
        : `Trained on events up to ${newestEvent}, as known at ${lineage.asOf}.`,
    )
  return limits
}
