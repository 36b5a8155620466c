/** How states are called and coloured on every page, so that one thing has one name. */
import type { ReleaseOutcomeKind, ReleaseStage, ReleaseState } from '../../domain/release/state.ts'
import type { VerdictKind } from '../../domain/verdict.ts'
import type { Tone } from './components/elements.tsx'
import { shareText } from './components/elements.tsx'

const stageWords: Readonly<Record<ReleaseStage, string>> = {
  qualifying: 'qualifying',
  awaiting_approval: 'awaits approval',
  shadow: 'shadow',
  canary: 'canary',
  awaiting_decision: 'awaits a decision',
  promoting: 'promoting',
  probation: 'probation',
  rolling_back: 'being taken back',
  ended: 'ended',
}

/** Where a release stands: `canary 5 %`, `shadow 25 % copied`. */
export function stageText({
  stage,
  shareBp,
  paused,
}: Pick<ReleaseState, 'stage' | 'shareBp' | 'paused'>): string {
  const share =
    stage === 'canary' ? ` ${shareText(shareBp)}` : stage === 'shadow' ? ` ${shareText(shareBp)} copied` : ''
  return `${stageWords[stage]}${share}${paused ? ', paused' : ''}`
}

/** Whether nothing goes on before a person has spoken. */
export const asksPerson = ({ stage, paused }: Pick<ReleaseState, 'stage' | 'paused'>): boolean =>
  stage === 'awaiting_approval' || stage === 'awaiting_decision' || paused

export function stageTone(state: Pick<ReleaseState, 'stage' | 'paused' | 'outcome'>): Tone {
  if (state.outcome !== undefined) return outcomeTones[state.outcome]
  if (asksPerson(state)) return 'warn'
  return state.stage === 'rolling_back' ? 'bad' : 'info'
}

export const outcomeTones: Readonly<Record<ReleaseOutcomeKind, Tone>> = {
  promoted: 'good',
  rolled_back: 'bad',
  rejected: 'bad',
  expired: 'quiet',
  aborted: 'quiet',
  superseded: 'quiet',
  failed: 'bad',
}

export const verdictTones: Readonly<Record<VerdictKind, Tone>> = {
  pass: 'good',
  fail: 'bad',
  inconclusive: 'warn',
  no_data: 'warn',
  error: 'bad',
}

/** `rolled_back` as people write it. */
export const plain = (word: string): string => word.replaceAll('_', ' ')

/** The first letters of a digest, enough to compare two by eye. */
export const shortDigest = (digest: string): string => digest.replace(/^sha256:/, '').slice(0, 12)

/** Moments within a sentence, to the minute: the sentence was made for programs as well. */
export const readable = (sentence: string): string =>
  sentence.replaceAll(/(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?Z/g, '$1 $2 UTC')
