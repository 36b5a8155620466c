/** Compares two versions field by field: differences first, with the difference of numbers. */
import { canonicalJson } from '../canonical-json.ts'
import { inMetricOrder } from '../figures.ts'
import { higherIsBetter } from '../evaluation/metrics.ts'
import { formatNameOf } from '@tenure/predictors/format-names'
import { totalBytesOf, type Manifest } from '../model/manifest.ts'
import { metricNames } from './version-query.ts'
import type { VersionLineage } from './version.ts'

export interface ComparedVersion {
  version: string
  model: string
  status: string
  createdAt: string
  createdBy: string
  lineage: Partial<VersionLineage>
  manifest: Partial<Manifest>
  training: {
    epochs: number
    loss?: number
    durationMs?: number
    buildId?: string
    dependencies: Record<string, string>
  }
}

export type Section = keyof ReturnType<typeof factsOf>
type Value = string | number | boolean | null

export interface ComparedField {
  section: Section
  field: string
  /** Null when absent. */
  one: Value
  other: Value
  /** other − one, for numbers. */
  difference?: number
  /** The version with the better metric; absent when equal, on other test rows, and for other fields. */
  better?: 'one' | 'other'
}

export interface VersionComparison {
  one: string
  other: string
  /** The differing fields, in the order of the sections. */
  differences: ComparedField[]
  same: ComparedField[]
  /** Notes on the comparability. */
  notes: string[]
}

export function compareVersions(one: ComparedVersion, other: ComparedVersion): VersionComparison {
  const [facts, others]: [Facts, Facts] = [factsOf(one), factsOf(other)]
  const fields = (Object.keys(facts) as Section[]).flatMap((section) => {
    const names = new Set([...Object.keys(facts[section]), ...Object.keys(others[section])])
    return [...names].map((field) =>
      compareField(section, field, facts[section][field], others[section][field]),
    )
  })
  if (one.model !== other.model || one.lineage.snapshot !== other.lineage.snapshot)
    for (const field of fields) delete field.better
  const isSame = (each: ComparedField): boolean => each.one === each.other
  return {
    one: one.version,
    other: other.version,
    differences: fields.filter((each) => !isSame(each)),
    same: fields.filter(isSame),
    notes: notesOf(one, other),
  }
}

function compareField(
  section: Section,
  field: string,
  one: Value | undefined,
  other: Value | undefined,
): ComparedField {
  const compared: ComparedField = { section, field, one: one ?? null, other: other ?? null }
  if (typeof one !== 'number' || typeof other !== 'number') return compared
  const difference = other - one
  const metric = section === 'metrics' ? metricNames.find((name) => name === field) : undefined
  if (metric === undefined || difference === 0) return { ...compared, difference }
  return { ...compared, difference, better: difference > 0 === higherIsBetter(metric) ? 'other' : 'one' }
}

function notesOf(one: ComparedVersion, other: ComparedVersion): string[] {
  const notes: string[] = []
  if (one.version === other.version) notes.push('this is one version, compared with itself')
  if (one.model !== other.model)
    notes.push(`they are versions of different models: ${one.model} and ${other.model}`)
  const [data, otherData] = [one.lineage.snapshot, other.lineage.snapshot]
  if (data !== otherData) notes.push('different test sets: differences may not be meaningful')
  return notes
}

/** Metrics as a record whose keys have the order of headings. */
const inOrder = <T>(metrics: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(inMetricOrder(Object.keys(metrics)).map((name) => [name, metrics[name]!]))

type Facts = Record<Section, Record<string, Value | undefined>>

/** The compared fields by section, in the order in which they are shown. */
function factsOf({ lineage, manifest, training, ...version }: ComparedVersion) {
  const { output, preprocessing = [], files } = manifest
  const [network, weights] = [files?.['model.json']?.bytes, files?.['weights.bin']?.bytes]
  const isNetwork = formatNameOf(manifest) === 'tfjs-layers'
  return {
    metrics: inOrder(lineage.metrics ?? {}),
    hyperparameters: { ...lineage.hyperparameters, seed: lineage.seed },
    data: {
      snapshot: lineage.snapshot,
      as_of: lineage.asOf,
      train_rows: lineage.rows?.train,
      test_rows: lineage.rows?.test,
    },
    features: {
      ...Object.fromEntries(
        Object.entries(manifest.features ?? {}).map(([name, feature]) => [name, canonicalJson(feature)]),
      ),
      '(output)': output && canonicalJson(output),
    },
    code: {
      code: lineage.code,
      build: training.buildId,
      dependencies: lineage.dependencies,
      ...Object.fromEntries(
        Object.entries(training.dependencies).map(([name, installed]) => [`dependency ${name}`, installed]),
      ),
    },
    training: { epochs: training.epochs, loss: training.loss, duration_ms: training.durationMs },
    size: {
      ...(isNetwork
        ? { network_bytes: network, weights_bytes: weights }
        : { artifact_bytes: totalBytesOf(files) }),
      // Four bytes per weight.
      parameters: isNetwork && weights !== undefined ? weights / 4 : undefined,
      inputs: preprocessing.length === 0 ? undefined : preprocessing.length,
    },
    origin: {
      ...(isNetwork ? {} : { format: manifest.artifact, library: manifest.library }),
      ...(lineage.origin === 'brought' ? { brought: true } : {}),
      ...(lineage.trainedOn === undefined ? {} : { trained_on: lineage.trainedOn }),
      status: version.status,
      created_at: version.createdAt,
      created_by: version.createdBy,
      reason: lineage.reason,
      compared_with: lineage.baseline,
    },
  }
}
