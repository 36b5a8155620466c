/**
 * Shows the champion of a model: version, since when, by whom and how, traffic, failures, quality, and what needs someone, in the words of
 * the overview. It reloads itself, because the numbers of the last minute are soon untrue.
 */
import type { Child } from 'hono/jsx'
import { capitalized, groupedDigits, metricName, metricText } from '../../../../domain/figures.ts'
import { judgeMinute, requestsOf, spanText, versionText } from '../../../../domain/monitoring/last-minute.ts'
import { listOverviewRows, type OverviewRow } from '../../../../store/dashboard/overview.ts'
import type { Database } from '../../../../store/postgres.ts'
import { listChampionHistory, type ChampionChange } from '../../../../store/registry/champions.ts'
import { firstStepOf } from '../../../../store/release/first-release.ts'
import type { Role } from '../../../../domain/roles.ts'
import { figureText, percentOf } from '../../../charts/figures.ts'
import { Badge, durationText, shareText, Time, withCode, type Tone } from '../../components/elements.tsx'
import { modelHref, retrainingHref, versionHref } from '../../components/links.tsx'
import { listHref } from '../../components/pager.tsx'
import { shortReason } from '../../labels.ts'
import type { PageElement } from '../../page.ts'
import { StageBadge, type StageNow } from '../../stage-badge.tsx'
import { shortVersion } from '../overview/cells.tsx'
import { calmText, concernsOf, toneOf, type Concern, type Measured } from '../overview/concerns.ts'
import { readMeasured } from '../overview/measured.ts'

export interface ChampionNow {
  row: OverviewRow
  measured: Measured
  /** The newest first. */
  changes: readonly ChampionChange[]
  /** What brings a champion, as a sentence with its command. Absent while one serves or a version is trained. */
  nextStep?: string | undefined
  nowMs: number
}

/** Of the history that is read. */
export const maxChanges = 30
/** Beside the worst. */
const maxOthers = 4

/** Reads by at most twelve statements, however many models there are. */
export async function readChampionNow(database: Database, model: string): Promise<ChampionNow> {
  const [[row], measured, changes] = await Promise.all([
    listOverviewRows(database, [model]),
    readMeasured(database, model),
    listChampionHistory(database, model, maxChanges),
  ])
  const { champion, running } = row!
  const nextStep =
    champion === undefined && running === undefined ? await firstStepOf(database, model) : undefined
  return { row: row!, measured, changes, nextStep, nowMs: Date.now() }
}

interface TileParts extends ChampionNow {
  role: Role
  /** The actions of the reader. */
  children?: Child
}

export const ChampionTile = ({ role, children, ...now }: TileParts): PageElement => {
  const { row, measured } = now
  const { model, champion } = row
  const concerns = concernsOf(measured, role)
  const [worst, ...others] = concerns
  const calm = calmText(measured)
  const tone: Tone = worst === undefined ? calm.tone : toneOf(worst.kind)
  // The pages of actions are the buttons below.
  const isOwn = ({ action }: Concern) => action.href.startsWith(modelHref(model))
  const [stage] = measured.stages
  const isAsking = stage !== undefined && concerns.some(({ action }) => action.href.endsWith(stage.state.id))
  return (
    <section class={`sentence champion ${tone}`} aria-label="Champion">
      <h2>
        {champion === undefined ? (
          'No version serves'
        ) : (
          <a href={versionHref({ model, version: champion.version })}>
            {shortVersion(model, champion.version)}
          </a>
        )}
      </h2>
      {worst === undefined ? (
        champion !== undefined && <p class={`state ${tone}`}>{calm.text}</p>
      ) : (
        <p class={`state ${tone}`}>
          <strong>{ownWords(worst)}</strong>
          {worst.since !== undefined && (
            <span class="quiet nowrap">
              since <Time at={worst.since} />
            </span>
          )}
          {!isOwn(worst) && <ConcernLink concern={worst} />}
          {worst.detail !== undefined && <span class="quiet small detail">{worst.detail}</span>}
        </p>
      )}
      {champion === undefined ? <Unserved {...now} /> : <Figures {...now} />}
      {stage !== undefined && !isAsking && (
        <p>
          <a href={`/releases/${stage.state.id}`}>{shortVersion(model, stage.state.version)}</a>{' '}
          <StageBadge {...stage} /> {stage.state.drill !== undefined && <Badge tone="quiet">drill</Badge>}
        </p>
      )}
      {row.queued !== undefined && (
        <p class="quiet">{shortVersion(model, row.queued)} waits for the release to end</p>
      )}
      {champion !== undefined && row.running !== undefined && (
        <p>
          <a href={retrainingHref(row.running)}>A version is being trained</a>
        </p>
      )}
      {children}
      {others.length > 0 && (
        <ul class="plain-list now">
          {others.slice(0, maxOthers).map((concern) => (
            <li class={toneOf(concern.kind)}>
              <div>
                {ownWords(concern)}
                {concern.detail !== undefined && <span class="quiet small detail">{concern.detail}</span>}
              </div>
              {!isOwn(concern) && <ConcernLink concern={concern} />}
            </li>
          ))}
        </ul>
      )}
      {others.length > maxOthers && (
        <p class="small">
          <a href={listHref('/alerts', { model })}>and {others.length - maxOthers} more</a>
        </p>
      )}
    </section>
  )
}

/** The words of the overview, without the model that the page is about. */
const ownWords = ({ text, model = '' }: Concern): string =>
  text.startsWith(`${model}: `) ? capitalized(text.slice(model.length + 2)) : text

const ConcernLink = ({ concern: { action, text } }: { concern: Concern }): PageElement => (
  <a class="button second" href={action.href}>
    {action.word}
    <span class="aloud"> {text}</span>
  </a>
)

/** How a model without a champion gets one. */
const Unserved = ({ row: { running }, nextStep }: ChampionNow): PageElement => (
  <p>
    {running !== undefined ? (
      <a href={retrainingHref(running)}>A version is being trained</a>
    ) : (
      nextStep !== undefined && withCode(nextStep)
    )}
  </p>
)

const Figures = (now: ChampionNow): PageElement => {
  const { row, measured, changes, nowMs } = now
  const { model, champion, quality } = row
  const { version, since } = champion!
  const requests = requestsOf(measured.minutes.get(model) ?? { others: [] })
  const [change] = changes
  const figures: readonly (readonly [
    name: string,
    value: string | PageElement,
    note: string | PageElement,
  ])[] = [
    [
      'Since',
      durationText(nowMs - Date.parse(since)),
      <Changed change={change} version={version} since={since} />,
    ],
    [
      'Traffic',
      requests === 0 ? 'None' : `${figureText(Number((requests / 60).toPrecision(3)))} req/s`,
      requests === 0 ? 'no requests in the last minute' : servedText(measured),
    ],
    ['Failed', ...failedOf(now)],
    [
      'Quality',
      quality?.value == null ? (
        'Not measured'
      ) : (
        <>
          {metricName(quality.metric)} {metricText(quality.value)}
        </>
      ),
      <Judged {...row} />,
    ],
  ]
  return (
    <dl class="figures">
      {figures.map(([name, value, note]) => (
        <div>
          <dt>{name}</dt>
          <dd>
            <span class="figure">{value}</span> <span class="quiet small">{note}</span>
          </dd>
        </div>
      ))}
    </dl>
  )
}

/** What of the champion's requests fails now: a pinned refusal is no good request, and a silent minute no good one. Others are named. */
function failedOf({ row, measured }: ChampionNow): [string | PageElement, string] {
  const { champion, others } = measured.minutes.get(row.model) ?? { others: [] }
  if (measured.states[0]?.pin?.serve === 'refuse')
    return [<span class="failed">All</span>, 'every request gets 503 by kill switch']
  const named = others.filter(({ failed }) => failed > 0).map(versionText)
  if (champion === undefined || champion.requests === 0)
    return ['—', ['unknown without requests', ...named].join('; ')]
  const { requests, failed } = champion
  const share = percentOf(failed / requests)
  const own = `${groupedDigits(failed)} of ${groupedDigits(requests)} ${spanText(champion)}`
  return [
    judgeMinute(champion) === 'failing' ? <span class="failed">{share}</span> : share,
    [own, ...named].join('; '),
  ]
}

/** What of the traffic the champion serves, by the leases of now. */
function servedText({ states, stages }: Measured): string {
  const pin = states[0]?.pin
  if (pin !== undefined)
    return pin.serve === 'refuse' ? 'all refused by kill switch' : `served by ${pin.serve} (kill switch)`
  const candidateBp = Math.max(0, ...stages.map((stage: StageNow) => stage.servedBp))
  return candidateBp === 0 ? 'in the last minute' : `${shareText(candidateBp)} by the candidate`
}

/** The time, who changed the champion, and how. */
const Changed = ({
  change,
  version,
  since,
}: {
  change: ChampionChange | undefined
  version: string
  since: string
}): PageElement => (
  <>
    <Time at={since} />
    {change?.version === version && (
      <>
        {' '}
        {change.cause === 'rollback' ? 'by rollback' : 'promoted'}, {change.actor}:{' '}
        {shortReason(change.reason)}
      </>
    )}
  </>
)

/** Where the quality comes from. */
const Judged = ({ quality, evaluated }: OverviewRow): PageElement => {
  if (quality?.value != null)
    return quality.level === 'lost' ? (
      <Badge tone="bad">lost</Badge>
    ) : (
      <>{quality.level === 'held' ? 'no certain loss, on outcomes' : 'too few outcomes to judge'}</>
    )
  return evaluated?.value === undefined ? (
    <>no outcomes judged yet</>
  ) : (
    <>
      {metricName(evaluated.metric)} {metricText(evaluated.value)} offline
    </>
  )
}
