/** Formats values for tables and sentences in the same way for all commands. */
import { outcomeText } from '../../domain/evaluation/verdict-words.ts'
import { rangeOf } from '../../domain/evaluation/gate-metrics.ts'
import type { ReleaseAnswer } from '../client/responses.ts'
import type { Terminal } from '../terminal.ts'

/** Formats basis points as a percentage. */
export const share = (bp: number): string => `${Number((bp / 100).toFixed(2))} %`

/** Shown in place of a list of models. */
export const noModels = 'No models. Add a model file, then run `tenure models sync`.'

export const orDash = (text: string | number | null | undefined): string =>
  text === undefined || text === null || text === '' ? '–' : String(text)

/** Returns the first 12 characters of a digest. */
export const digestPrefix = (digest: string | null | undefined): string =>
  digest === undefined || digest === null ? '–' : digest.replace(/^sha256:/, '').slice(0, 12)

/** Returns what people read of an outcome or of a verdict of a stage, in its colour. */
export function coloured({ paint }: Terminal, outcome: string | null | undefined): string {
  if (outcome === undefined || outcome === null) return '–'
  const text = outcomeText(outcome)
  switch (outcome) {
    case 'promoted':
    case 'pass':
      return paint('green', text)
    case 'rolled_back':
    case 'failed':
    case 'fail':
    case 'quarantined':
    case 'not_better':
      return paint('red', text)
    // The release that a retraining started may still end in any way.
    case 'released':
      return text
    default:
      return paint('yellow', text)
  }
}

/** Returns the stage of a release, and whether it is paused or a drill. */
export const releaseStage = ({ stage, paused, drill }: ReleaseAnswer): string =>
  `${stage}${paused ? ' (paused)' : ''}${drill ? ` (drill: ${drill})` : ''}`

/**
 * Formats the share of traffic that the version serves now, also after a release that promoted it; in shadow, the copied share. A candidate
 * that does not serve as its stage says is named with no share of it.
 */
export const servesText = ({
  stage,
  traffic_bp: serves = 0,
  share_bp: planned,
  warning,
}: ReleaseAnswer): string => {
  if (warning === undefined && stage === 'targeted') return 'targeted callers'
  if (warning === undefined && stage === 'shadow') return `${share(planned)} copied`
  return `${share(serves)} of traffic`
}

/** Returns the outcome, and when the promoted version was rolled back since. */
export const releaseOutcome = ({ outcome, withdrawn_at: at }: ReleaseAnswer, terminal: Terminal): string =>
  coloured(terminal, outcome) +
  (at === undefined ? '' : terminal.paint('red', `, rolled back since, at ${at}`))

/** The default primary metrics of the tasks. */
const primaries = ['auc', 'accuracy', 'rmse', 'r2', 'pinball']

/** Chooses the metrics for a table: primary ones first, then those of a model file, which may be primary too, then in the given order. */
export function shownMetrics(names: readonly string[]): string[] {
  const defaults = primaries.filter((name) => names.includes(name))
  const own = names.filter((name) => rangeOf(name) === undefined)
  return [...new Set([...defaults, ...own, ...names])].slice(0, 3)
}
