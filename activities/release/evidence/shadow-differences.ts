/**
 * Reads how the answers of the two versions in a shadow stage differ. Reads page by page and each pair once: counted evidence never
 * changes, so the bounds of the judge hold at every look.
 */
import { outputWidth } from '@tenure/predictors/features'
import { scoreRanges } from '../../../domain/model/reference-profile.ts'
import { distanceSteps, type DisagreementEvidence } from '../../../domain/canary/disagreement.ts'
import type { SliceDefinition } from '../../../domain/model-definition.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import type { Database } from '../../../store/postgres.ts'
import { getModel } from '../../../store/registry/models.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { listLoggedPredictions, listPairs, type ComparedPair } from '../../../store/release/evidence.ts'
import { withDuck } from '../../data/duckdb.ts'
import { loadServed, sliceMembers } from '../../data/served-table.ts'
import { placesIn, decisionNames, decisionOf } from '../../../domain/tasks/tasks.ts'
import { scaledLoss } from '../../../domain/tasks/numeric.ts'

/** Pairs per page, and the limit of a release: more pairs would cost more than they add evidence. */
const pagePairs = 2_000
const maxPairs = 100_000

export interface DifferenceReader {
  /** Adds the next page. */
  next(): Promise<DisagreementEvidence | undefined>
  /** Adds all remaining pages. */
  rest(): Promise<DisagreementEvidence | undefined>
}

/** Creates a reader of the pairs; undefined when nothing is compared. */
export function differenceReader(
  store: Database,
  { id: release, model, version: shadow, baseline, policy }: ReleaseState,
): DifferenceReader | undefined {
  const isRead = policy.shadow !== undefined && policy.limits.disagreement !== 'off'
  if (baseline === undefined || !isRead) return undefined
  const counts = createCounts()
  let compared: Compared | undefined
  let after: ComparedPair | undefined
  let read = 0
  /** Returns whether the page was full, so that more may follow. */
  const readPage = async (): Promise<boolean> => {
    const pairs =
      read < maxPairs ? await listPairs(store, { release, served: baseline, shadow, after }, pagePairs) : []
    read += pairs.length
    after = pairs.at(-1) ?? after
    const first = pairs.filter((pair) => counts.isFirst(pair))
    if (first.length > 0) {
      compared ??= await comparedBy(store, { model, baseline, shadow })
      const distances = first.map((pair) => distanceOf(pair, compared!))
      counts.add(first, distances, compared.manifest)
      if (compared.slices.length > 0) counts.addSlices(await membersOf(store, first, compared), distances)
    }
    return pairs.length === pagePairs
  }
  return {
    async next() {
      await readPage()
      return counts.evidence()
    },
    async rest() {
      while (await readPage());
      return counts.evidence()
    },
  }
}

interface Compared {
  manifest: Manifest
  slices: readonly SliceDefinition[]
  /** For each number, the champion's range between the 10th and the 90th percentile; 0 when the candidate lacks the number. Empty when unknown. */
  scales: readonly number[]
  /** The position of each of the champion's numbers in the candidate's answer; −1 when the candidate lacks it. */
  places: readonly number[]
}

async function comparedBy(
  store: Database,
  { model, baseline, shadow }: { model: string; baseline: string; shadow: string },
): Promise<Compared> {
  const { definition } = await getModel(store, model)
  const { manifest } = await getVersion(store, baseline)
  const { manifest: candidate } = await getVersion(store, shadow)
  const { slices } = definition.evaluation
  const places = placesIn(candidate.output, manifest.output)
  const scales = scoreRanges(manifest.profile).map((range, k) => (places[k] === -1 ? 0 : range))
  return { manifest, slices, scales, places }
}

/** A distance between 0 and 1. For several numbers the mean over those that both versions answer, each in units of its own scale. Undefined without a scale. */
function distanceOf(pair: ComparedPair, { scales, places }: Compared): number | undefined {
  const { served, shadow, difference, servedValues, shadowValues } = pair
  if (served !== null && shadow !== null) return served === shadow ? 0 : 1
  const differences =
    servedValues === null || shadowValues === null
      ? [difference ?? NaN]
      : servedValues.map((value, k) => Math.abs(value - (shadowValues[places[k]!] ?? NaN)))
  if (differences.every(Number.isNaN)) return undefined
  return scaledLoss(differences, scales) ?? undefined
}

/** The row positions of each slice. A pair that is not in the log yet belongs to no slice. */
async function membersOf(
  store: Database,
  pairs: readonly ComparedPair[],
  { manifest, slices }: Compared,
): Promise<{ name: string; rows: number[] }[]> {
  const { output, preprocessing } = manifest
  const ids = pairs.map(({ predictionId }) => predictionId)
  const logged = await listLoggedPredictions(store, { ids, fits: preprocessing, width: outputWidth(output) })
  const places = new Map(ids.map((id, place) => [id, place]))
  const rows = logged.map(({ row, outputs }) => ({
    row,
    outputs,
    truth: null,
    predicted: decisionOf(output, outputs) ?? 0,
  }))
  const parts = await withDuck(async (duck) => {
    return sliceMembers(await loadServed(duck, rows, manifest), slices)
  })
  return parts.flatMap(({ name, rows: members }) =>
    typeof members === 'string'
      ? []
      : [{ name, rows: members.map((i) => places.get(logged[i]!.predictionId)!) }],
  )
}

const labelOf = (output: Manifest['output'] | undefined, decision: string | boolean): string =>
  (typeof decision === 'boolean' && output ? decisionNames(output)[Number(decision)] : undefined) ??
  String(decision)

function createCounts() {
  const users = new Set<number>()
  const changes = new Map<string, DisagreementEvidence['changes'][number]>()
  const slices = new Map<string, number[]>()
  let measure: DisagreementEvidence['measure'] = 'decisions'
  let all: number[] | undefined
  const empty = () => Array.from({ length: measure === 'decisions' ? 2 : distanceSteps + 1 }, () => 0)
  const count = (into: number[], distance: number | undefined) => {
    if (distance !== undefined) into[Math.round(distance * (into.length - 1))]!++
  }
  return {
    /** Whether the pair is the first of its user. */
    isFirst({ entity }: ComparedPair): boolean {
      if (users.has(entity)) return false
      users.add(entity)
      return true
    },
    add(
      pairs: readonly ComparedPair[],
      distances: readonly (number | undefined)[],
      { output }: Partial<Manifest>,
    ) {
      if (all === undefined) measure = pairs[0]!.served === null ? 'distance' : 'decisions'
      all ??= empty()
      for (const distance of distances) count(all, distance)
      for (const { served, shadow } of pairs) {
        if (served === null || shadow === null || served === shadow) continue
        const key = JSON.stringify([served, shadow])
        const found = changes.get(key) ?? {
          from: labelOf(output, served),
          to: labelOf(output, shadow),
          count: 0,
        }
        found.count++
        changes.set(key, found)
      }
    },
    addSlices(
      members: readonly { name: string; rows: readonly number[] }[],
      distances: readonly (number | undefined)[],
    ) {
      for (const { name, rows } of members) {
        const counts = slices.get(name) ?? empty()
        slices.set(name, counts)
        for (const place of rows) count(counts, distances[place])
      }
    },
    evidence(): DisagreementEvidence | undefined {
      if (all === undefined) return undefined
      return {
        measure,
        all: { name: 'all requests', distances: [...all] },
        slices: Array.from(slices, ([name, distances]) => ({ name, distances: [...distances] })),
        changes: [...changes.values()],
      }
    },
  }
}
