/** The verdict in one line, and why: the first thing an approver reads. */
import { whyWaiting } from '../../../../domain/release/explain.ts'
import type { View } from '../../page.ts'
import { Age, Badge, gainText, numberText, shareText, type Tone } from '../../components/elements.tsx'
import { outcomeTones, plain, readable, stageText, stageTone, verdictTones } from '../../labels.ts'
import { gateTones } from './evaluation.tsx'
import type { ReleaseSubject } from './load.ts'

interface Line {
  tone: Tone
  /** One word. */
  word: string
  why: string
}

/** How it ended; before that what the judge said last; before that what the gate said. */
export function verdictLine({ release, candidate }: ReleaseSubject): Line {
  const { state } = release
  const outcome = release.outcome ?? state.outcome
  if (outcome !== undefined)
    return {
      tone: outcomeTones[outcome],
      word: plain(outcome),
      why: release.reason ?? state.reason ?? '',
    }
  const { lastVerdict } = state
  if (lastVerdict !== undefined)
    return {
      tone: verdictTones[lastVerdict.kind],
      word: plain(lastVerdict.kind),
      why: lastVerdict.reason,
    }
  const report = candidate?.report
  if (report === undefined) return { tone: 'quiet', word: 'not judged yet', why: '' }
  const primary = report.metrics.find(({ metric }) => metric === report.policy.primary)
  const against = state.baseline === undefined ? 'its floors; there is no champion yet' : state.baseline
  const figures =
    primary === undefined
      ? ''
      : ` ${primary.metric} ${numberText(primary.challenger)}` +
        (primary.delta === null
          ? ''
          : `, ${gainText(primary.delta)} (${gainText(primary.low)} to ${gainText(primary.high)})`)
  const why = report.reasons[0]?.message ?? ''
  return {
    tone: gateTones[report.verdict],
    word: plain(report.verdict),
    why: `against ${against}:${figures}${primary === undefined ? why : ''}`,
  }
}

export const Verdict = ({ subject }: { subject: ReleaseSubject }): View => {
  const { release, pinned, behind, routing, champion, nowMs, candidate } = subject
  const { state } = release
  const { tone, word, why } = verdictLine(subject)
  const isOpen = release.endedAt === undefined
  const serves = (routing?.route.arms ?? [])
    .filter(({ version }) => version === state.version)
    .reduce((sum, { shareBp }) => sum + shareBp, 0)
  return (
    <section class={`card ${tone}`} aria-label="Verdict" data-stage={stageKey(subject)}>
      <p class="lead">
        <Badge tone={tone}>{word}</Badge> {why}
      </p>
      {isOpen && <p>{pinned === undefined ? readable(whyWaiting(state)) : `${pinned}.`}</p>}
      {isOpen && candidate?.report?.needsPerson === true && (
        <p>
          <Badge tone="warn">look closely</Badge> It is better than is easily believed:{' '}
          {candidate.report.reasons.map(({ message }) => message).join('; ')}
        </p>
      )}
      {isOpen && behind.length > 0 && (
        <p>
          <Badge tone="warn">not followed yet</Badge> {behind.slice(0, 5).join('; ')}
        </p>
      )}
      <p class="quiet small">
        <Badge tone={stageTone({ ...state, ...(release.outcome ? { outcome: release.outcome } : {}) })}>
          {stageText(state)}
        </Badge>{' '}
        {state.version} answers {shareText(serves)} of the callers
        {champion === undefined
          ? ''
          : champion.version === state.version
            ? ' and is champion'
            : `; ${champion.version} is champion`}
        . Started <Age at={release.startedAt} nowMs={nowMs} /> ago
        {release.endedAt === undefined ? '' : `, ended ${release.endedAt.slice(0, 16).replace('T', ' ')} UTC`}
        .
      </p>
      {state.rollbackResult !== undefined && (
        <p class="quiet small">
          Taken back: every replica had dropped it{' '}
          {Math.max(0, Math.round(state.rollbackResult.acknowledgedMs - state.rollbackResult.orderedMs))} ms
          after the order.
        </p>
      )}
    </section>
  )
}

/** Changes when what people may say to the release does. */
export const stageKey = ({ release: { state }, champion }: ReleaseSubject): string =>
  [state.stage, state.stageIndex, state.paused, state.approvals.length, champion?.version ?? ''].join('/')
