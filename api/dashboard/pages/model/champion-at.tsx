/** Shows the champion at a point in time, with its release, approvals and evidence. */
import type { LiveAt } from '../../../../store/registry/champion-at.ts'
import type { PageElement } from '../../page.ts'
import { Badge, Time } from '../../components/elements.tsx'
import { plain, verdictTones } from '../../labels.ts'

export const LiveAtForm = ({
  path,
  at,
  live,
  first,
  model,
}: {
  path: string
  at: string | undefined
  live: LiveAt | undefined
  first: { version: string; at: string } | undefined
  model: string
}): PageElement => (
  <section class="card">
    <h2>Live at a point in time</h2>
    <form class="filter" method="get" action={path} role="search" aria-label="Live at a point in time">
      <div>
        <label for="at">Time (UTC)</label>
        <input
          id="at"
          name="at"
          value={at ?? ''}
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
          : `${model} had no champion then; the first was ${first.version}, since ${first.at.slice(0, 16).replace('T', ' ')} UTC.`}
      </p>
    ) : (
      <ChampionThen live={live} path={path} />
    )}
  </section>
)

const ChampionThen = ({ live, path }: { live: LiveAt; path: string }): PageElement => {
  const { version, since, until, cause, actor, reason, evaluation, decisions, audit } = live
  // A rollback restores an earlier version: its approvals belong to the release that promoted it.
  const release = cause === 'rollback' ? live.earnedBy : live.release
  return (
    <dl class="facts" id="at-hint">
      <dt>Champion</dt>
      <dd>
        <a href={`${path}/versions/${encodeURIComponent(version)}`}>
          <strong>{version}</strong>
        </a>
      </dd>
      <dt>From</dt>
      <dd>
        <Time at={since} />{' '}
        {until === undefined ? (
          '(still)'
        ) : (
          <>
            until <Time at={until} />
          </>
        )}
      </dd>
      <dt>Cause</dt>
      <dd>
        {cause} by {actor}: {reason}
      </dd>
      {release !== undefined && <PromotedBy release={release} isRollback={cause === 'rollback'} />}
      {evaluation !== undefined && (
        <>
          <dt>Evaluation</dt>
          <dd>
            {plain(evaluation.verdict)}
            {evaluation.against !== undefined && ` vs ${evaluation.against}`}
          </dd>
        </>
      )}
      {decisions.length > 0 && (
        <>
          <dt>Verdicts</dt>
          <dd>
            {decisions.slice(0, 3).map(({ kind, stage }) => (
              <>
                <Badge tone={verdictTones[kind]}>
                  {plain(stage)}: {plain(kind)}
                </Badge>{' '}
              </>
            ))}
            {decisions.length > 3 && <span class="quiet">and {decisions.length - 3} earlier</span>}
          </dd>
        </>
      )}
      {audit !== undefined && (
        <>
          <dt>Audit</dt>
          <dd>
            <a href={`/audit?before=${audit.seq + 1}`}>row {audit.seq}</a>
          </dd>
        </>
      )}
    </dl>
  )
}

const PromotedBy = ({
  release,
  isRollback,
}: {
  release: NonNullable<LiveAt['release']>
  isRollback: boolean
}): PageElement => (
  <>
    <dt>{isRollback ? 'Promoted by' : 'Release'}</dt>
    <dd>
      <a href={`/releases/${encodeURIComponent(release.id)}`}>{plain(release.strategy)}</a> requested by{' '}
      {release.requestedBy}
      {release.approvals.length > 0 && `, approved by ${release.approvals.map(({ by }) => by).join(', ')}`}
    </dd>
  </>
)
