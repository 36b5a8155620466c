/** Lists what changed in the last day: champions, releases that ended without a promotion, retrainings and kill switches. */
import type { RecentChange } from '../../../../store/dashboard/model-history.ts'
import { truncated } from '../../../charts/figures.ts'
import { modelHref, retrainingHref } from '../../components/links.tsx'
import type { PageElement } from '../../page.ts'
import { outcomeText } from '../../../../domain/evaluation/verdict-words.ts'
import { plain, shortReason } from '../../labels.ts'
import { coarseAge, shortVersion } from './cells.tsx'

/** Beyond this number, changes are not counted. */
export const maxChanges = 100
const shownChanges = 10
/** In characters. */
const maxReason = 100

/** The number of changes: `12`, or `more than 100`. */
export const changeCount = (changes: readonly RecentChange[]): string =>
  changes.length > maxChanges ? `more than ${maxChanges}` : String(changes.length)

/** Describes a change: `flight-delay v1.2.0 → v1.1.0 (rolled back)`. */
function changeText({ kind, what, model, version, previousVersion }: RecentChange): string {
  const short = version === undefined ? '' : ` ${shortVersion(model, version)}`
  if (kind === 'pin') return what === 'normal' ? `${model} unpinned` : `${model} pinned to ${what}`
  if (kind === 'retraining') return `${model} retraining: ${outcomeText(what)}`
  if (kind === 'release') return `${model}${short}: ${plain(what)}`
  const from = previousVersion === undefined ? '' : ` ${shortVersion(model, previousVersion)} →`
  return `${model}${from}${short} (${what === 'rollback' ? 'rolled back' : 'promoted'})`
}

const hrefOf = ({ kind, model, releaseId, retrainingId }: RecentChange): string => {
  if (releaseId !== undefined) return `/releases/${releaseId}`
  return kind === 'retraining' ? retrainingHref(retrainingId!) : modelHref(model)
}

/** The user and the reason; the reason alone where it names the user as an approver. */
function partsOf({ kind, actor, reason }: RecentChange): string[] {
  const why = reason === undefined ? [] : [truncated(shortReason(reason), maxReason)]
  const approvers = /^approved by (.+)$/.exec(why[0] ?? '')?.[1]?.split(' and ') ?? []
  return actor === undefined || approvers.includes(actor)
    ? why
    : [kind === 'retraining' ? `requested by ${actor}` : actor, ...why]
}

/** To ten seconds within the first minute, which tells the newest changes apart: `< 10 s`, `20 s`, `5 h`. */
export const changeAge = (ms: number): string =>
  ms < 10_000 ? '< 10 s' : ms < 60_000 ? `${10 * Math.floor(ms / 10_000)} s` : coarseAge(ms)

export const RecentChanges = ({
  changes,
  nowMs,
}: {
  changes: readonly RecentChange[]
  nowMs: number
}): PageElement => (
  <section id="changes">
    <h2>Changed in the last 24 h</h2>
    {changes.length === 0 ? (
      <p class="empty">
        No changes. Train a challenger: <code>tenure retrain &lt;model&gt;</code>
      </p>
    ) : (
      <ul class="plain-list changes">
        {changes.slice(0, shownChanges).map((change) => (
          <li>
            <time datetime={change.at} class="quiet small">
              {changeAge(nowMs - Date.parse(change.at))} ago
            </time>{' '}
            <a href={hrefOf(change)}>{changeText(change)}</a>
            {partsOf(change).map((part) => (
              <span class="quiet small"> · {part}</span>
            ))}
          </li>
        ))}
      </ul>
    )}
    {changes.length > shownChanges && (
      <p class="quiet small">
        The newest {shownChanges} of {changeCount(changes)}. See <a href="/releases">releases</a>,{' '}
        <a href="/retrainings">retrainings</a> and the <a href="/audit">audit log</a>.
      </p>
    )}
  </section>
)
