/** Shows the verdict of a release in one line with its reason, and the state of the rollout. */
import { countText, spanText } from '../../../charts/figures.ts'
import {
  capitalized,
  levelPercent,
  metricName,
  gainText,
  metricText,
  numberText,
} from '../../../../domain/figures.ts'
import { missingEvidence, servedBp, whyWaiting, withoutEvidence } from '../../../../domain/release/explain.ts'
import { rollbackTime, watchedStages } from '../../../../domain/release/state.ts'
import type { GateReport } from '../../../../domain/evaluation/gate.ts'
import { comparedValue } from '../../../../domain/evaluation/metric-table.ts'
import type { PageElement } from '../../page.ts'
import { Age, Badge, durationText, shareText, Time, type Tone } from '../../components/elements.tsx'
import {
  outcomeTones,
  plain,
  sentenceCase,
  stageText,
  stageTone,
  verdictTones,
  withoutFirst,
} from '../../labels.ts'
import { gateTones } from './evaluation.tsx'
import type { ShownVerdict } from '../../../../store/dashboard/release-detail.ts'
import type { ReleaseSubject } from './load.ts'
import { isComplete } from './rollback.tsx'
import { runningStage, stageRows, type StageRow } from './stages.ts'

interface Line {
  tone: Tone
  word: string
  why: string
}

/** Returns the outcome; before it, the newest verdict of the running stage; before that, the verdict of the offline gate. */
export function verdictLine(subject: ReleaseSubject): Line {
  const { release, candidate, withdrawal } = subject
  const { state } = release
  if (withdrawal !== undefined)
    return { tone: 'bad', word: 'promoted, rolled back since', why: withdrawal.reason }
  const outcome = release.outcome ?? state.outcome
  if (outcome !== undefined)
    return {
      tone: outcomeTones[outcome],
      word: plain(outcome),
      why: withoutFirst(plain(outcome), withoutEvidence(release.reason ?? state.reason ?? '')),
    }
  const running = runningLine(subject)
  if (running !== undefined) return running
  const { lastVerdict: last } = state
  if (last !== undefined) {
    // Evidence of a later moment no longer changes this verdict.
    const isLate = state.stage === 'awaiting_decision' && last.kind === 'inconclusive'
    const when = isLate && last.questions === undefined ? 'at the deadline: ' : ''
    return {
      tone: verdictTones[last.kind],
      word: plain(last.kind),
      why: `${when}${withoutEvidence(last.reason)}`,
    }
  }
  if (candidate?.report === undefined) return { tone: 'quiet', word: 'no data yet', why: '' }
  return gateLine(candidate.report, state.baseline)
}

/** Returns the newest verdict of the running stage, and not of an earlier one. */
function runningLine(subject: ReleaseSubject): Line | undefined {
  const { release, verdicts } = subject
  const { state } = release
  const { stage, stageIndex } = state
  if (subject.problem !== undefined)
    return { tone: 'warn', word: 'not serving as planned', why: subject.problem }
  if (!watchedStages.some((each) => each === stage)) return undefined
  const last = verdicts.findLast((each) => each.stage === stage && each.stageIndex === stageIndex)
  if (last === undefined)
    return { tone: 'info', word: 'collecting evidence', why: 'No verdict in this stage yet' }
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
        tone: 'info',
        word: 'collecting evidence',
        why: `${countText(requests)} requests, no verdict on them yet`,
      }
    return { tone: 'warn', word: 'no evidence', why: missing }
  }
  if (last.kind === 'inconclusive') {
    const doubts = last.reasons.filter(({ code }) => doubtCodes.has(code))
    if (doubts.length > 0)
      return {
        tone: 'warn',
        word: 'no evidence',
        why: capitalized(withoutEvidence(doubts.map(({ message }) => message).join('; '))),
      }
    return {
      tone: 'info',
      word: 'collecting evidence',
      why: `${sentenceCase(found)} so far${gathered(last, now)}`,
    }
  }
  return { tone: verdictTones[last.kind], word: plain(last.kind), why }
}

/** Reasons for which the requests of a stage are no evidence: the arms cannot be compared, or replicas have dropped the candidate. */
const doubtCodes: ReadonlySet<string> = new Set(['srm', 'breaker'])

/** Describes what a stage still needs: ` · 50 s of 10 min · 2 of 500 requests`, with the present figures, as the tiles below show them. */
const gathered = ({ reasons }: ShownVerdict, now: StageRow | undefined): string =>
  reasons
    .map(({ code, message, values }) => {
      const { elapsedMs, minMs, requests, minRequests } = values
      if (code === 'minimum_time')
        return ` · ${durationText(now?.observedMs ?? Number(elapsedMs))} of ${durationText(Number(minMs))}`
      if (code === 'minimum_requests') {
        const have = now?.candidate.requests ?? Number(requests)
        const enough = have >= Number(minRequests) ? ', enough for the next verdict' : ''
        return ` · ${countText(have)} of ${countText(Number(minRequests))} requests${enough}`
      }
      return ` · ${withoutEvidence(message)}`
    })
    .join('')

function gateLine(report: GateReport, baseline: string | undefined): Line {
  const tone = gateTones[report.verdict]
  const primary = report.metrics.find(({ metric }) => metric === report.policy.primary)
  const value = primary && `${metricName(primary.metric)} ${metricText(comparedValue(primary))}`
  const reason = report.reasons[0]?.message ?? ''
  if (baseline === undefined) {
    const floor =
      primary == null || primary.floor === null
        ? ''
        : ` ${primary.floorMet ? 'meets' : 'misses'} its floor of ${numberText(primary.floor)}`
    return { tone, word: 'first version', why: value === undefined ? reason : `${value}${floor}` }
  }
  const gain =
    primary == null || primary.delta === null
      ? ''
      : ` (${gainText(primary.delta)}, ${levelPercent(report.policy.confidence)} % CI ${gainText(primary.low)} to ${gainText(primary.high)})`
  const preposition = report.verdict === 'insufficient' ? 'against' : 'than'
  const why = `${preposition} ${baseline}: ${value === undefined ? reason : `${value}${gain}`}`
  return { tone, word: plain(report.verdict), why }
}

export const VerdictSection = ({ subject }: { subject: ReleaseSubject }): PageElement => {
  const { release, pinned, behind, served, problem, champion, nowMs, candidate, withdrawal, gateway } =
    subject
  const { state } = release
  const { rollbackResult: recovery } = state
  const dropped =
    recovery !== undefined && isComplete(recovery, state.version) ? rollbackTime(recovery) : undefined
  const outcome = release.outcome ?? state.outcome
  const { tone, word, why } = verdictLine(subject)
  const isOpen = release.endedAt === undefined
  const left = outcome === 'promoted' ? state.version : recovery?.champion
  const serves = servedBp(state, served)
  return (
    <section class={`card ${tone}`} aria-label="Verdict" data-stage={stageKey(subject)}>
      <p class="lead">
        <Badge tone={tone}>{word}</Badge> {why}
      </p>
      {isOpen && (pinned !== undefined || problem === undefined) && (
        <p>{pinned === undefined ? whyWaiting(state, { verdict: false }) : `${pinned}.`}</p>
      )}
      {isOpen && candidate?.report?.needsPerson === true && (
        <p>
          <Badge tone="warn">check this</Badge>{' '}
          {candidate.report.reasons.map(({ message }) => message).join('; ')}
        </p>
      )}
      {isOpen && gateway !== undefined && (
        <p class="quiet small">
          Callers ask the gateway {gateway}. If this system stops, the candidate keeps its share until the
          health check of its server fails. The gateway counts requests and failures: latency and answers are
          not compared.
        </p>
      )}
      {isOpen && behind.length > 0 && (
        <p>
          <Badge tone="warn">replicas catching up</Badge> {behind.slice(0, 5).join('; ')}
        </p>
      )}
      <p class="quiet small">
        <Badge tone={stageTone({ ...state, outcome })}>{stageText(state, serves)}</Badge>{' '}
        {release.endedAt === undefined ? (
          <>
            Serving {shareText(serves)} of traffic
            {champion !== undefined &&
              (champion.version === state.version ? ' as champion' : ` · champion ${champion.version}`)}{' '}
            · started <Age at={release.startedAt} nowMs={nowMs} /> ago
          </>
        ) : (
          <>
            {left !== undefined && `Left ${left} as champion · `}started <Time at={release.startedAt} /> ·
            ended <Time at={release.endedAt} />
          </>
        )}
        {withdrawal !== undefined && (
          <>
            {' '}
            · rolled back <Time at={withdrawal.at} />
          </>
        )}
      </p>
      {dropped !== undefined && (
        <p class="quiet small">
          Rolled back on all replicas in {spanText(dropped.ms)}, counted from the {dropped.from}
        </p>
      )}
    </section>
  )
}

/** Returns a key that changes when the commands that the release accepts may change. */
export const stageKey = ({ release: { state }, champion }: ReleaseSubject): string =>
  [state.stage, state.stageIndex, state.paused, state.approvals.length, champion?.version ?? ''].join('/')
