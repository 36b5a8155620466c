/**
 * Explains the terms of releases and statistics: what each means for a decision. A term in a table or a text shows its meaning to pointer, keyboard and touch,
 * and links to the glossary.
 */
import type { PageElement } from './page.ts'

interface GlossaryEntry {
  term: string
  /** The spellings of the term in tables and texts that link to it. */
  words: readonly string[]
  /** What the term means for the decision, in one or two sentences. */
  meaning: string
}

/** The terms in alphabetical order. */
export const glossary: readonly GlossaryEntry[] = [
  {
    term: 'Accuracy',
    words: ['accuracy', 'Accuracy'],
    meaning: 'The share of correct decisions. Errors in a rare class hardly change it: read recall as well.',
  },
  {
    term: 'Adjusted p',
    words: ['Adjusted p'],
    meaning:
      'The probability of such a difference by chance, corrected for the number of comparisons. Below 0.05 it counts against the challenger.',
  },
  {
    term: 'AUC',
    words: ['auc', 'AUC'],
    meaning:
      'The probability that a positive case is scored above a negative one: 0.5 is chance, 1 is perfect. It does not depend on the threshold.',
  },
  {
    term: 'Average precision',
    words: ['Average precision'],
    meaning: 'Precision over all thresholds. It says more than AUC where positives are rare.',
  },
  {
    term: 'Break-glass promotion',
    words: ['break-glass promotion'],
    meaning:
      'A promotion by an admin without approvals, minimum times and all stages but one. A regression there still rolls back. Or the registration of a challenger that the gate refused.',
  },
  {
    term: 'Brier score',
    words: ['Brier score'],
    meaning:
      'The mean squared error of the probabilities; lower is better. It rises when probabilities are too high or too low.',
  },
  {
    term: 'Business metrics',
    words: ['Business metrics'],
    meaning:
      'What users did after their first request to a version, such as purchases. A proven loss of the worst metric rolls back or asks.',
  },
  {
    term: 'Calibration',
    words: ['Calibration'],
    meaning:
      'Whether an outcome predicted at 70 % happens in 70 % of cases. A drift away from the line makes thresholds wrong.',
  },
  {
    term: 'Canary',
    words: [],
    meaning:
      'The stages in which the candidate answers a share of the traffic. Its responses are compared with those of the champion in the same time.',
  },
  {
    term: 'Candidate',
    words: [],
    meaning:
      'The version that a release is about. Only a verdict, an approver or a deadline moves it to the next stage or back.',
  },
  {
    term: 'Challenger',
    words: [],
    meaning:
      'A trained version that the gate compares with the champion. Once it is released, it is called the candidate.',
  },
  {
    term: 'Champion',
    words: [],
    meaning:
      'The version that answers by default. A challenger must be better than it, or not worse, before it may replace it.',
  },
  {
    term: 'Confidence interval',
    words: ['95 % interval'],
    meaning: 'The values that the data support. The gate passes when the worst of them is within the limit.',
  },
  {
    term: 'Confidence sequence',
    words: ['confidence sequence', 'Band'],
    meaning:
      'An interval that is valid at every look, so that watching a canary and stopping early does not raise the error.',
  },
  {
    term: 'Δ',
    words: ['Δ', 'Gain'],
    meaning: 'Challenger minus champion, in the direction in which more is better.',
  },
  {
    term: 'Disagreement',
    words: ['Disagreement'],
    meaning:
      'How often the two versions answer the same request differently. It does not say which one is right: an approver decides above the limit.',
  },
  {
    term: 'Evidence',
    words: ['Evidence', 'evidence'],
    meaning:
      'The log of how much likelier the counts are under a regression than without one. At the threshold the release rolls back.',
  },
  {
    term: 'Failure budget',
    words: ['Failure budget', 'Failure budget used'],
    meaning:
      'How many requests a release may fail beyond what the control would have failed on the same requests. It rolls back when they are used up.',
  },
  {
    term: 'External metrics',
    words: ['External metrics'],
    meaning:
      'What other systems measure of each version, window by window. A source without an answer never rolls back; it holds the release.',
  },
  {
    term: 'F1',
    words: ['F1', 'Macro F1'],
    meaning: 'The harmonic mean of precision and recall; it falls when either does.',
  },
  {
    term: 'False-rollback risk',
    words: ['False-rollback risk'],
    meaning:
      'The probability that a candidate no worse than its champion is rolled back, over all metrics, stages and looks together.',
  },
  {
    term: 'Gate',
    words: [],
    meaning:
      'The comparison of a trained version with the champion on test rows, before any release. A version that does not pass is not released.',
  },
  {
    term: 'Guardrail',
    words: ['guardrail'],
    meaning: 'A metric that may not get worse by more than its limit, whatever the primary metric gains.',
  },
  {
    term: 'Holdback',
    words: [],
    meaning:
      'The share of the traffic that the former champion answers during probation, so that both can still be compared.',
  },
  {
    term: 'Importance',
    words: ['Fall'],
    meaning:
      'How much the metric falls when the values of one feature are shuffled. Near zero, the model does not use it.',
  },
  {
    term: 'Known good',
    words: ['known good'],
    meaning:
      'A version whose release ended as promoted and that was never rolled back. A rollback returns to the newest one.',
  },
  {
    term: 'Log loss',
    words: ['Log loss'],
    meaning: 'The penalty for confident wrong probabilities; lower is better.',
  },
  {
    term: 'Paired quality',
    words: ['Paired quality'],
    meaning:
      'Requests that both versions answered and whose outcome is known: which of them loses more, by the loss of the primary metric or its stand-in.',
  },
  {
    term: 'Precision',
    words: ['precision', 'Precision'],
    meaning: 'Of the predicted positives, the share that is positive. Low precision means false alarms.',
  },
  {
    term: 'Primary metric',
    words: ['primary'],
    meaning: 'The metric that decides whether the challenger is better.',
  },
  {
    term: 'Probation',
    words: [],
    meaning:
      'The time after a promotion in which the new champion is still watched and rolled back automatically.',
  },
  {
    term: 'PSI',
    words: ['PSI'],
    meaning:
      'Population stability index: how far live inputs are from the training data. Below 0.1 stable, above 0.2 the model meets other data than it learnt.',
  },
  {
    term: 'p95 and p99',
    words: ['Slow responses (p95)', 'Slow responses (p99)'],
    meaning:
      'Responses slower than 95 % or 99 % of the champion’s before the release. More of them than in the control is a regression.',
  },
  {
    term: 'Recall',
    words: ['recall', 'Recall'],
    meaning: 'Of the positives, the share that was predicted. Low recall means missed cases.',
  },
  {
    term: 'Score shift',
    words: ['Score shift'],
    meaning:
      'Whether the answers of the two versions are distributed differently, before any outcome is known.',
  },
  {
    term: 'Shadow',
    words: [],
    meaning:
      'Copies of requests that the candidate answers and no caller receives. It finds failures and slow responses without harm.',
  },
  {
    term: 'Superseded',
    words: ['superseded'],
    meaning:
      'A release that ended because another release took its place, or because the champion changed that its version was compared with.',
  },
  {
    term: 'Targeted callers',
    words: ['Targeted'],
    meaning:
      'Callers who were chosen to meet the candidate first. Their failures count against the failure budget; they are not compared, because they were not drawn at random.',
  },
]

const keyOf = (term: string): string =>
  term
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '') || 'delta'
const byWord = new Map(glossary.flatMap((entry) => entry.words.map((word) => [word, entry] as const)))

/** Renders a word, with its meaning if the glossary has one. Intervals of every level have that of `95 % interval`. */
export const Term = ({ word }: { word: string }): PageElement => {
  const entry = byWord.get(word.replace(/^[\d.]+ % interval$/, '95 % interval'))
  return entry === undefined ? (
    <>{word}</>
  ) : (
    <a class="term" href={`/glossary#${keyOf(entry.term)}`} title={entry.meaning}>
      {word}
    </a>
  )
}

export const GlossaryList = (): PageElement => (
  <dl class="glossary">
    {glossary.map(({ term, meaning }) => (
      <>
        <dt id={keyOf(term)}>{term}</dt>
        <dd>{meaning}</dd>
      </>
    ))}
  </dl>
)
