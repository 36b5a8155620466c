/** Names and colours the states of releases, verdicts and versions in the same way on every page. */
import type { ReleaseOutcomeKind, ReleaseStage, ReleaseState } from '../../domain/release/state.ts'
import { withoutEvidence } from '../../domain/release/explain.ts'
import type { VerdictKind } from '../../domain/verdict.ts'
import type { BadgeTone } from './components/elements.tsx'
import { shareText } from './components/elements.tsx'

const stageWords: Readonly<Record<ReleaseStage, string>> = {
  qualifying: 'qualifying',
  awaiting_approval: 'awaiting approval',
  shadow: 'shadow',
  targeted: 'targeted callers',
  canary: 'canary',
  awaiting_decision: 'decision needed',
  promoting: 'promoting',
  probation: 'probation',
  rolling_back: 'rolling back',
  ended: 'ended',
}

/** Names a stage in which the candidate receives requests: `canary 5 %`, `targeted callers`. */
export const stepText = (stage: ReleaseStage, shareBp: number): string =>
  stage === 'targeted' ? stageWords.targeted : `${stage} ${shareText(shareBp)}`

/** Names the stage of a release: a canary with the share that it serves now, a shadow with the share of copied requests. */
export function stageText(
  { stage, shareBp, paused }: Pick<ReleaseState, 'stage' | 'shareBp' | 'paused'>,
  servedNowBp: number,
): string {
  const share =
    stage === 'canary' ? ` ${shareText(servedNowBp)}` : stage === 'shadow' ? ` ${shareText(shareBp)}` : ''
  return `${stageWords[stage]}${share}${paused ? ', paused' : ''}`
}

export function stageTone(state: Pick<ReleaseState, 'stage' | 'paused' | 'outcome'>): BadgeTone {
  if (state.outcome !== undefined) return outcomeTones[state.outcome]
  return state.stage === 'rolling_back' ? 'bad' : 'quiet'
}

export const outcomeTones: Readonly<Record<ReleaseOutcomeKind, BadgeTone>> = {
  promoted: 'good',
  rolled_back: 'bad',
  rejected: 'bad',
  expired: 'quiet',
  aborted: 'quiet',
  superseded: 'quiet',
  failed: 'bad',
}

export const verdictTones: Readonly<Record<VerdictKind, BadgeTone>> = {
  pass: 'good',
  fail: 'bad',
  inconclusive: 'quiet',
  no_data: 'quiet',
  error: 'bad',
}

/** Converts an identifier to words: `rolled_back` → `rolled back`. */
export const plain = (word: string): string => word.replaceAll('_', ' ')

/** Converts an identifier to words at the start of a line: `quality_lost` → `Quality lost`. */
export const sentenceCase = (word: string): string =>
  `${word.charAt(0).toUpperCase()}${plain(word.slice(1))}`.replace(/ warn$/, ' warning')

export const levelTones: Readonly<Record<string, BadgeTone>> = { stable: 'good', warn: 'quiet', alarm: 'bad' }

export const qualityTones = { held: 'good', lost: 'bad', insufficient: 'quiet' } as const

export const severityTones = { critical: 'bad', warning: 'warn', info: 'quiet' } as const

/** Names the level of drift or of a validation: `warn` → `warning`. */
export const levelText = (level: string): string => (level === 'warn' ? 'warning' : plain(level))

/** Returns the first 12 hexadecimal digits of a digest. */
export const shortDigest = (digest: string): string => digest.replace(/^sha256:/, '').slice(0, 12)

/** Removes release ids from a stored reason, because its page links to the release. */
export const withoutIds = (reason: string): string =>
  reason.replace(/: release rel_\w+ started/, '').replace(/^release rel_\w+, /, '')

/**
 * Shortens a stored reason for a list: without ids and evidence, and only the first of several reasons. Of the lines of a program, only the
 * last, which names the error of a traceback.
 */
export function shortReason(reason: string): string {
  const [said = '', ...lines] = withoutEvidence(withoutIds(reason))
    .split('\n')
    .filter((line) => line.trim() !== '')
  const last = lines.at(-1)
  if (last !== undefined) return `${said}: ${last.trim()}`
  const [first = '', ...others] = said.split('; ')
  return others.length === 0 ? first : `${first} …`
}

/** Leaves out the words that stand before a reason: `rolled back by ada` → `by ada`. */
export const withoutFirst = (words: string, reason: string): string =>
  reason.startsWith(`${words} `) ? reason.slice(words.length + 1) : reason

/** The parts of a page: code and fields as they are, tags, and a space between a digit and its unit. */
const spacedUnits =
  /<(code|pre|textarea|script|title)\b[^>]*>[^]*?<\/\1>|<[^>]*>|(\d) (?=(?:%|ms|s|min|h|d|[kMGT]?B)(?![\p{L}\d]))/gu

/** Keeps a number and its unit on one line, in the texts of a page. Code stays as it is, because it is copied. */
export const withUnbrokenUnits = (html: string): string =>
  html.replaceAll(spacedUnits, (part: string, _tag: string | undefined, digit: string | undefined) =>
    digit === undefined ? part : `${digit}\u00a0`,
  )
