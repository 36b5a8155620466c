/** Shows the champion at a point in time, with its release, approvals and evidence. */
import type { LiveAt } from '../../../../store/registry/champion-at.ts'
import type { PageElement } from '../../page.ts'
import { Badge, Facts, Time, type Fact } from '../../components/elements.tsx'
import { plain, shortReason, verdictTones } from '../../labels.ts'

interface LiveAtParts {
  path: string
  at?: string
  live?: LiveAt
  first?: { version: string; at: string }
  model: string
}

export const LiveAtForm = ({ path, at, live, first, model }: LiveAtParts): PageElement => (
  <section class="card">
    <h2>Live at a point in time</h2>
    <form class="filter" method="get" action={path} role="search" aria-label="Live at a point in time">
      <div>
        <label for="at">Time (UTC)</label>
        <input
          id="at"
          name="at"
          value={at === undefined ? '' : typedText(at)}
          placeholder="2026-03-01 12:00"
          maxlength={40}
          required
          autocomplete="off"
          aria-describedby="at-hint"
        />
      </div>
      <button class="second">Show</button>
    </form>
    {at === undefined ? (
      <p class="hint" id="at-hint">
        A day or an ISO 8601 time, e.g. 2026-03-01T12:00:00Z
      </p>
    ) : live === undefined ? (
      <p id="at-hint">
        {first === undefined
          ? `${model} has had no champion yet.`
          : [
              `${model} had no champion then; the first was ${first.version}, since `,
              <Time at={first.at} />,
              '.',
            ]}
      </p>
    ) : (
      <ChampionThen live={live} path={path} />
    )}
  </section>
)

/** Writes the time as it may be typed: `2026-03-01 12:00`, with seconds when it has any. */
const typedText = (at: string): string =>
  at
    .replace('T', ' ')
    .replace(/(?:\.0+)?Z$/, '')
    .replace(/(:\d\d):00$/, '$1')

const ChampionThen = ({ live, path }: { live: LiveAt; path: string }): PageElement => {
  const { version, since, until, cause, actor, reason, evaluation, decisions, audit } = live
  // A rollback restores an earlier version. The approvals of that version belong to the release that promoted it.
  const release = cause === 'rollback' ? live.earnedBy : live.release
  const champion = (
    <a href={`${path}/versions/${encodeURIComponent(version)}`}>
      <strong>{version}</strong>
    </a>
  )
  const term = (
    <>
      <Time at={since} /> {until === undefined ? '(still)' : ['until ', <Time at={until} />]}
    </>
  )
  const against = evaluation?.against === undefined ? '' : ` vs ${evaluation.against}`
  const facts: (Fact | undefined)[] = [
    ['Champion', champion],
    ['From', term],
    ['Cause', `${cause} by ${actor}: ${shortReason(reason)}`],
    release && [cause === 'rollback' ? 'Promoted by' : 'Release', <Promotion release={release} />],
    evaluation && ['Evaluation', `${plain(evaluation.verdict)}${against}`],
    decisions.length > 0 ? ['Verdicts', <Verdicts decisions={decisions} />] : undefined,
    audit && ['Audit', <a href={`/audit?before=${audit.seq + 1}`}>row {audit.seq}</a>],
  ]
  return <Facts id="at-hint" facts={facts} />
}

const Verdicts = ({ decisions }: Pick<LiveAt, 'decisions'>): PageElement => (
  <>
    {decisions.slice(0, 3).map(({ kind, stage }) => (
      <>
        <Badge tone={verdictTones[kind]}>
          {plain(stage)}: {plain(kind)}
        </Badge>{' '}
      </>
    ))}
    {decisions.length > 3 && <span class="quiet">and earlier ones</span>}
  </>
)

const Promotion = ({ release }: { release: NonNullable<LiveAt['release']> }): PageElement => (
  <>
    <a href={`/releases/${encodeURIComponent(release.id)}`}>{plain(release.strategy)}</a> requested by{' '}
    {release.requestedBy}
    {release.approvals.length > 0 && `, approved by ${release.approvals.map(({ by }) => by).join(', ')}`}
  </>
)
