/**
 * Reads how the answers of the two versions of a shadow differ, page by page and each pair once: evidence that was counted stays counted,
 * so that the bounds of the judge hold at every look.
 */
import { scoreRanges } from '../../../domain/model/reference-profile.ts'
import { likeliestClass, outputWidth, placesIn } from '../../../domain/model/features.ts'
import { scaledLoss } from '../../../domain/canary/holdback.ts'
import type { DisagreementEvidence } from '../../../domain/canary/disagreement.ts'
import type { SliceDefinition } from '../../../domain/model-definition.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import type { Database } from '../../../store/postgres.ts'
import { getModel } from '../../../store/registry/models.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { listLoggedPredictions, listPairs, type ComparedPair } from '../../../store/release/shadow-pairs.ts'
import { withDuck } from '../../data/duckdb.ts'
import { loadServed, sliceMembers } from '../../data/served-table.ts'

/** Pairs of one reading, and of a release. More would cost more than they add. */
const pagePairs = 2_000
const maxPairs = 100_000
/** Distances of numbers are counted in steps of 1/50. */
const steps = 50

export interface DifferenceReader {
  /** Adds the next page. */
  next(): Promise<DisagreementEvidence | undefined>
  /** Adds all pages that there are. */
  rest(): Promise<DisagreementEvidence | undefined>
}

/** A reader of the pairs, page by page; undefined where nothing is compared. */
export function differenceReader(
  store: Database,
  { id: release, model, version: shadow, baseline, policy }: ReleaseState,
): DifferenceReader | undefined {
  const { disagreement = 'off', alpha } = policy.limits
  const isRead = policy.shadow !== undefined && disagreement !== 'off' && alpha.disagreement !== undefined
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
      counts.add(first, distances)
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
  /** The champion's range between the 10th and 90th percentile, of each number; 0 for one that the candidate does not answer, none when it is unknown. */
  scales: readonly number[]
  /** Where each number of the champion stands in an answer of the candidate; negative without it. */
  places: readonly number[]
}

async function comparedBy(
  store: Database,
  { model, baseline, shadow }: { model: string; baseline: string; shadow: string },
): Promise<Compared> {
  const { definition } = await getModel(store, model)
  const { manifest } = await getVersion(store, baseline)
  const candidate: Partial<Manifest> = (await getVersion(store, shadow)).manifest
  // Older rows may lack these fields.
  const { slices = [] } = (definition.evaluation ?? {}) as Partial<typeof definition.evaluation>
  const { output }: Partial<Manifest> = manifest
  const places = output && candidate.output ? placesIn(candidate.output, output) : []
  const scales = scoreRanges(manifest.profile).map((range, k) => (places[k] === -1 ? 0 : range))
  return { manifest, slices, scales, places }
}

/** Between 0 and 1; of several numbers the mean of the distances of those that both answer, each in units of its own scale; undefined without a scale. */
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

/** The places of the pairs of each slice. A pair that is not in the log yet belongs to none. */
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
    y: null,
    predicted: decisionOf(output, outputs),
  }))
  const parts = await withDuck(async (duck) => {
    await loadServed(duck, rows, manifest)
    return sliceMembers(duck, slices)
  })
  return parts.flatMap(({ name, rows: members }) =>
    typeof members === 'string'
      ? []
      : [{ name, rows: members.map((i) => places.get(logged[i]!.predictionId)!) }],
  )
}

function decisionOf(output: Manifest['output'], outputs: readonly number[]): number {
  if (output.kind === 'probability') return Number((outputs[0] ?? 0) >= output.threshold)
  return output.kind === 'classes' ? likeliestClass(outputs) : 0
}

function createCounts() {
  const users = new Set<number>()
  const changes = new Map<string, DisagreementEvidence['changes'][number]>()
  const slices = new Map<string, number[]>()
  let measure: DisagreementEvidence['measure'] = 'decisions'
  let all: number[] | undefined
  const empty = () => Array.from({ length: measure === 'decisions' ? 2 : steps + 1 }, () => 0)
  const count = (into: number[], distance: number | undefined) => {
    if (distance !== undefined) into[Math.round(distance * (into.length - 1))]!++
  }
  return {
    /** Whether its user has no pair yet; a pair of an earlier build names none. */
    isFirst({ entity }: ComparedPair): boolean {
      if (entity === null) return true
      if (users.has(entity)) return false
      users.add(entity)
      return true
    },
    add(pairs: readonly ComparedPair[], distances: readonly (number | undefined)[]) {
      if (all === undefined) measure = pairs[0]!.served === null ? 'distance' : 'decisions'
      all ??= empty()
      for (const distance of distances) count(all, distance)
      for (const { served, shadow } of pairs) {
        if (served === null || shadow === null || served === shadow) continue
        const key = JSON.stringify([served, shadow])
        const found = changes.get(key) ?? { from: String(served), to: String(shadow), count: 0 }
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
