/** Says in one sentence how a release stands, and beside it what a reader has to know before its figures. */
import { placeOf, traitsOf } from '../../../../domain/serving/gateway.ts'
import { countText, spanText } from '../../../charts/figures.ts'
import { coverageCode } from '../../../../domain/canary/coverage.ts'
import { capitalized, metricName, numberText } from '../../../../domain/figures.ts'
import { missingEvidence, servedBp, whyWaiting, withoutEvidence } from '../../../../domain/release/explain.ts'
import { isBreakGlass, rollbackTime, watchedStages } from '../../../../domain/release/state.ts'
import type { GateReport } from '../../../../domain/evaluation/gate.ts'
import { gateVerdictText } from '../../../../domain/evaluation/verdict-words.ts'
import type { Actor } from '../../../auth/authentication.ts'
import type { PageElement } from '../../page.ts'
import { Badge, shareText, Time, type Tone } from '../../components/elements.tsx'
import { modelHref } from '../../components/links.tsx'
import { outcomeTones, plain, verdictTones, withoutFirst } from '../../labels.ts'
import { modelActions } from '../model/action-roles.ts'
import { shortVersion } from '../overview/cells.tsx'
import { gateTones } from './evaluation.tsx'
import type { ShownVerdict } from '../../../../store/dashboard/release-detail.ts'
import type { ReleaseSubject } from './load.ts'
import { isComplete } from './rollback.tsx'
import { runningStage, stageRows } from './stages.ts'

interface Line {
  tone: Tone
  word: string
  why: string
}

/** Writes the line as a sentence: `Rolled back: 3 of 71 responses invalid`, `Rolled back by ada`. */
export function sentenceOf({ word, why }: Line): string {
  const joint = why === '' ? '' : /^(by|than|against) /.test(why) ? ' ' : ': '
  return capitalized(`${word}${joint}${why}`)
}

/**
 * Returns what a reader must know first: that the release has ended or cannot go on, that its candidate does not serve as its stage says, what
 * the newest verdict of the running stage is, and before that what the offline gate found.
 */
export function verdictLine(subject: ReleaseSubject): Line {
  const { release, candidate, withdrawal } = subject
  const { state } = release
  if (withdrawal !== undefined)
    return { tone: 'bad', word: 'promoted, rolled back since', why: withdrawal.reason }
  const outcome = release.outcome ?? state.outcome
  const reason = withoutEvidence(release.reason ?? state.reason ?? '')
  if (isUnapprovable(subject))
    return {
      tone: 'warn',
      word: 'cannot be approved any more',
      why:
        outcome === undefined
          ? `${subject.champion?.version ?? 'no version'} is champion now, not ${state.baseline ?? 'none'}`
          : reason.replace(/\. Make another with .*$/s, ''),
    }
  if (outcome !== undefined)
    return { tone: outcomeTones[outcome], word: plain(outcome), why: withoutFirst(plain(outcome), reason) }
  const running = runningLine(subject)
  if (running !== undefined) return running
  const { lastVerdict: last } = state
  if (state.stage === 'awaiting_decision') {
    // Evidence of a later moment no longer changes this verdict.
    const isLate = last?.kind === 'inconclusive' && last.questions === undefined
    const why = `${withoutEvidence(last?.reason ?? '')}${isLate ? ' at the deadline' : ''}`
    return { tone: 'warn', word: 'decision needed', why }
  }
  if (last !== undefined)
    return { tone: verdictTones[last.kind], word: plain(last.kind), why: withoutEvidence(last.reason) }
  const word = state.stage === 'awaiting_approval' ? 'awaiting approval' : plain(state.stage)
  if (candidate?.report === undefined) return { tone: 'quiet', word, why: 'no evaluation' }
  return { tone: gateTones[candidate.report.verdict], word, why: gateClause(candidate.report, subject) }
}

/** Whether an approval can release the version no more, because another version has become champion since its evaluation. */
function isUnapprovable({ release, champion }: ReleaseSubject): boolean {
  const { state } = release
  const { stage, baseline } = state
  if (release.endedAt === undefined && stage === 'awaiting_approval') return champion?.version !== baseline
  return state.championChanged === true
}

/** Returns the newest verdict of the running stage, and not of an earlier one. */
function runningLine(subject: ReleaseSubject): Line | undefined {
  const { release, verdicts } = subject
  const { state } = release
  const { stage, stageIndex } = state
  if (subject.problem !== undefined) return { tone: 'warn', word: subject.problem, why: '' }
  if (!watchedStages.some((each) => each === stage)) return undefined
  const last = verdicts.findLast((each) => each.stage === stage && each.stageIndex === stageIndex)
  if (last === undefined)
    return { tone: 'quiet', word: 'collecting evidence', why: 'no verdict in this stage yet' }
  const why = withoutEvidence(last.reasons.map(({ message }) => message).join('; '))
  const found = stage === 'targeted' ? 'no harm' : 'no regression'
  if (last.kind === 'pass') return { tone: 'good', word: found, why }
  const now = runningStage(stageRows(subject))
  const missing = missingEvidence(state, last, now?.observedMs ?? 0)
  if (missing !== undefined) {
    const isSuperseded = last.reasons.some(({ code }) => code === 'no_traffic')
    const requests = now?.candidate.requests ?? 0
    if (isSuperseded && requests > 0)
      return {
        tone: 'quiet',
        word: 'collecting evidence',
        why: `no verdict on ${countText(requests)} requests yet`,
      }
    return { tone: 'warn', word: missing, why: '' }
  }
  if (last.kind === 'inconclusive') {
    const doubts = last.reasons.filter(({ code }) => doubtCodes.has(code))
    if (doubts.length > 0)
      return {
        tone: 'quiet',
        word: 'no evidence',
        why: withoutEvidence(doubts.map(({ message }) => message).join('; ')),
      }
    return { tone: 'quiet', word: `${found} so far`, why: openQuestions(last) }
  }
  return { tone: verdictTones[last.kind], word: plain(last.kind), why }
}

/** Reasons for which the requests of a stage are no evidence: the arms cannot be compared, or replicas have dropped the candidate. */
const doubtCodes: ReadonlySet<string> = new Set(['srm', 'breaker', coverageCode])

/** The reasons other than time and requests, which the track shows. */
const openQuestions = ({ reasons }: ShownVerdict): string =>
  withoutEvidence(
    reasons
      .filter(({ code }) => code !== 'minimum_time' && code !== 'minimum_requests')
      .map(({ message }) => message)
      .join('; '),
  )

/** `better than v1.0.0`; the figures stand in the summary. */
function gateClause(
  { verdict, metrics, policy, reasons, compression }: GateReport,
  { release }: ReleaseSubject,
): string {
  const { baseline, model } = release.state
  const word = gateVerdictText(verdict, { isFirst: baseline === undefined })
  if (baseline === undefined) {
    const primary = metrics.find(({ metric }) => metric === policy.primary)
    const floor =
      primary === undefined || primary.floor === null
        ? reasons[0]?.message
        : `${metricName(primary.metric)} ${primary.floorMet ? 'meets' : 'misses'} its floor of ${numberText(primary.floor)}`
    return `first version ${word}${floor === undefined ? '' : `, ${floor}`}`
  }
  const against = shortVersion(model, baseline)
  const like =
    compression?.fidelity.verdict === 'equal'
      ? `, proven to answer like its parent ${shortVersion(model, compression.version)}`
      : ''
  if (verdict === 'better') return `better than ${against}${like}`
  return `${word} against ${against}${verdict === 'not_worse' ? like : `: ${reasons[0]?.message ?? ''}`}`
}

export const VerdictSection = ({
  subject,
  actor,
}: {
  subject: ReleaseSubject
  actor: Actor
}): PageElement => {
  const { release, pinned, behind, problem, candidate, gateway } = subject
  const { state } = release
  const line = verdictLine(subject)
  const isOpen = release.endedAt === undefined
  const twin = candidate?.rolledBackTwin
  const isLost = isUnapprovable(subject)
  return (
    <section class={`sentence ${line.tone}`} aria-label="Verdict" data-stage={stageKey(subject)}>
      <p class="quiet small">
        <strong>{state.version}</strong> · {plain(state.strategy)} release{' '}
        {state.policy.risk === 'high' && <Badge tone="quiet">high risk</Badge>}{' '}
        {state.drill !== undefined && <Badge tone="quiet">drill: {state.drill}</Badge>}{' '}
        {state.hotfix !== undefined && <Badge tone="quiet">hotfix: {state.hotfix.reason ?? ''}</Badge>}
      </p>
      <h1>{sentenceOf(line)}</h1>
      {isLost && modelActions.retrain.allow.includes(actor.role) && (
        <p>
          <a class="button" href={`${modelHref(state.model)}/retrain`}>
            Retrain
          </a>
        </p>
      )}
      <Served subject={subject} />
      {isOpen && !isLost && (pinned !== undefined || (problem === undefined && !isCounting(subject))) && (
        <p>{pinned === undefined ? whyWaiting(state, { verdict: false }) : `${pinned}.`}</p>
      )}
      {isOpen && candidate?.report?.needsPerson === true && (
        <p>
          <Badge tone="quiet">check this</Badge>{' '}
          {candidate.report.reasons.map(({ message }) => message).join('; ')}
        </p>
      )}
      {isOpen && twin !== undefined && twin.version !== state.version && (
        <p>
          <Badge tone="quiet">check this</Badge> same artifact as {twin.version}, rolled back{' '}
          <Time at={twin.at} />
        </p>
      )}
      {isOpen && gateway !== undefined && (
        <p class="quiet small">
          Callers ask the gateway {placeOf(gateway)}. If this system stops, {traitsOf(gateway).whileSilent}.
          The gateway counts requests and failures: latency and answers are not compared.
        </p>
      )}
      {isOpen && behind.length > 0 && (
        <p>
          <Badge tone="quiet">replicas catching up</Badge> {behind.slice(0, 5).join('; ')}
        </p>
      )}
    </section>
  )
}

/** Whether the release only waits for the time and the requests of its stage, which the track shows. */
const isCounting = ({ release: { state } }: ReleaseSubject): boolean =>
  watchedStages.some((each) => each === state.stage) &&
  state.routed &&
  !state.paused &&
  state.stage !== 'targeted' &&
  !isBreakGlass(state)

/** What serves now; after a rollback, when the failures began and whether anything is still wrong. */
const Served = ({ subject }: { subject: ReleaseSubject }): PageElement => {
  const { release, served, champion, withdrawal, arms } = subject
  const { state } = release
  const { rollbackResult: recovery } = state
  if (release.endedAt === undefined) {
    if (state.routings.length === 0) return <></>
    return (
      <p class="quiet">
        Serving {shareText(servedBp(state, served))} of traffic
        {champion !== undefined &&
          (champion.version === state.version ? ' as champion' : ` · champion ${champion.version}`)}
      </p>
    )
  }
  const left = state.outcome === 'promoted' ? state.version : recovery?.champion
  const firstBadAt = arms
    .filter(({ version, arm }) => version === state.version && arm !== 'shadow')
    .flatMap(({ firstBadAt: at }) => at ?? [])
    .toSorted()[0]
  const wrong = recovery === undefined ? [] : [...(recovery.unacknowledged ?? []), ...(recovery.cutOff ?? [])]
  const dropped = recovery && isComplete(recovery, state.version) ? rollbackTime(recovery) : undefined
  return (
    <>
      <p class="quiet">
        <span>
          {left !== undefined && `Left ${left} as champion · `}ended <Time at={release.endedAt} />
          {withdrawal !== undefined && (
            <>
              {' '}
              · rolled back <Time at={withdrawal.at} />
            </>
          )}
        </span>
        {recovery !== undefined && firstBadAt !== undefined && (
          <span>
            {' · '}first failure <Time at={firstBadAt} shows="clock" />
          </span>
        )}
        {dropped !== undefined && (
          <span>
            {' · '}Rolled back on all replicas in {spanText(dropped.ms)}, counted from the {dropped.from}
          </span>
        )}
      </p>
      {wrong.length > 0 && (
        <p>
          <Badge tone="bad">still wrong</Badge> {wrong.slice(0, 5).join('; ')}
        </p>
      )}
    </>
  )
}

/** Returns a key that changes when the commands that the release accepts may change. */
export const stageKey = ({ release: { state }, champion }: ReleaseSubject): string =>
  [state.stage, state.stageIndex, state.paused, state.approvals.length, champion?.version ?? ''].join('/')
