/**
 * Measures the costs and savings of each flood policy: for a wave that is over when the version serves, and for campaigns that look alike
 * but last. All versions have the trainer of the year.
 */
import { auc, seededRandom, sumOf } from '@tenure/sequential'
import { floodPolicies, type FloodPolicy } from '../../../domain/validation/floods.ts'
import { leadWeeks, type StreamRow, type YearStream } from './streams.ts'
import { withoutFloods } from './tenure/floods.ts'
import { featuresOf, snapshotOf, trainVersion } from './versions.ts'

export interface CampaignFigure {
  kind: CampaignKind
  /** Weeks from the beginning of the wave to the training. */
  after: number
  policy: FloodPolicy
  /** AUC on the rows of the week after the training, of each wave. */
  auc: number[]
  /** Number of waves whose rows were found. */
  found: number
}

/**
 * - `wave`: a week of 15 % more rows, all of one value and all "yes", which is over afterwards. - `as ever`: as many additional rows of one
 * value, with its usual labels, which last. - `all yes`: the rows of the wave, which last.
 */
export type CampaignKind = 'wave' | 'as ever' | 'all yes'

const kinds: readonly [CampaignKind, number[]][] = [
  ['wave', [1, 3]],
  ['as ever', [1, 2, 3]],
  ['all yes', [1, 2, 3]],
]

export async function playCampaigns(
  stream: YearStream,
  { starts, say }: { starts: readonly number[]; say: (line: string) => void },
): Promise<CampaignFigure[]> {
  const figures: CampaignFigure[] = []
  for (const [kind, afters] of kinds)
    for (const after of afters) {
      const of = floodPolicies.map((policy): CampaignFigure => ({ kind, after, policy, auc: [], found: 0 }))
      figures.push(...of)
      for (const [place, start] of starts.entries()) {
        const region = stream.regions[place % stream.regions.length]!
        const lasts = kind !== 'wave'
        const rowsOf = (week: number) =>
          week === start || (lasts && week > start)
            ? withWave(stream, week, { region, kind })
            : stream.week(week)
        const now = start + after
        const first = Math.max(-leadWeeks, now - Math.ceil(stream.split.train + stream.split.test) - 1)
        const table = Array.from({ length: now - first }, (_, week) => rowsOf(first + week)).flat()
        const asked = rowsOf(now)
        const y = asked.map(({ label }) => label)
        let shared: number | undefined
        for (const figure of of) {
          const whole = snapshotOf(table, now * stream.weekMs, stream)
          const snapshot = await withoutFloods(stream, whole, figure.policy)
          const isSame = snapshot.floods.length === 0 && shared !== undefined
          const version = isSame ? undefined : await trainVersion(stream, snapshot, `${kind} ${now}`)
          const found = version === undefined ? shared! : (auc(y, version.answer(featuresOf(asked))) ?? 0)
          if (figure.policy === 'warn' || snapshot.floods.length === 0) shared ??= found
          figure.auc.push(found)
          if (snapshot.floods.length > 0) figure.found++
        }
        say(
          `${kind} of ${region} from week ${start}, ${after} later: ${of.map(({ policy, auc: all }) => `${policy} ${all.at(-1)!.toFixed(4)}`).join(', ')}`,
        )
      }
    }
  return figures
}

function withWave(
  stream: YearStream,
  week: number,
  { region, kind }: { region: string; kind: CampaignKind },
): StreamRow[] {
  const { region: column } = stream.columns
  const rows = stream.week(week)
  const own = rows.filter(({ features }) => features[column] === region)
  const uniform = seededRandom(week * 37 + 11)
  return rows.flatMap((row) => {
    if (uniform() >= 0.15) return [row]
    // A row of the campaign has the features and the label of one of the value, at the time of the row beside it.
    const model =
      kind === 'as ever' ? own[Math.floor(uniform() * own.length)]! : { ...row, label: 1, told: 1 }
    const features = { ...model.features, [column]: region }
    return [row, { ...model, id: `${row.id}/wave`, atMs: row.atMs, knownAtMs: row.knownAtMs, features }]
  })
}

/** Returns a row for each kind and time: the mean AUC by policy, and in how many waves rows were found. */
export function campaignRows(figures: readonly CampaignFigure[]): string[][] {
  const first = figures.filter(({ policy }) => policy === 'thin')
  const meanOf = (all: readonly number[]) => (sumOf(all) / all.length).toFixed(4)
  return first.map(({ kind, after, found, auc: aucs }) => {
    const of = (policy: FloodPolicy) =>
      figures.find((each) => each.kind === kind && each.after === after && each.policy === policy)!
    const means = (['thin', 'leave_out', 'warn'] as const).map((policy) => meanOf(of(policy).auc))
    return [kind, String(after), ...means, `${found} of ${aucs.length}`]
  })
}
