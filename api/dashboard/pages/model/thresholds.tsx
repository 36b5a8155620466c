/** Shows the decisions of a binary model at its threshold and at other thresholds, on the latest outcomes. */
import { countText } from '../../../../charts/figures.ts'
import { numberText } from '../../../../domain/figures.ts'
import { confusionAt, type DecisionCounts } from '../../../../domain/metrics/confusion.ts'
import type { PageElement } from '../../page.ts'
import { Badge, DataTable } from '../../components/elements.tsx'
import type { ScoredOutcomes } from '../../components/calibration.ts'

const others = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] as const

/** Counts the decisions at the threshold of the model file and at others, lowest first. */
export const thresholdTable = (scored: ScoredOutcomes, threshold: number): DecisionCounts[] =>
  [...new Set([...others, threshold])]
    .toSorted((one, other) => one - other)
    .map((each) => confusionAt(scored, each))

/** One form in a column, so that its values can be compared. */
const share = (value: number | null): string => (value === null ? '—' : `${(100 * value).toFixed(1)} %`)

export const ThresholdSection = ({
  scored,
  threshold,
}: {
  scored: ScoredOutcomes
  threshold: number
}): PageElement => {
  const rows = thresholdTable(scored, threshold)
  const now = rows.find((row) => row.threshold === threshold)!
  return (
    <section class="card" aria-labelledby="threshold-heading">
      <h2 id="threshold-heading">Decisions at the threshold</h2>
      <p>
        At {numberText(threshold)}: {countText(now.truePositives)} found, {countText(now.falseNegatives)}{' '}
        missed, {countText(now.falsePositives)} false alarms, {countText(now.trueNegatives)} rightly not
        raised, of {countText(scored.predicted.length)} outcomes.
      </p>
      <DataTable<DecisionCounts>
        caption="What another threshold would do"
        rows={rows}
        empty="No outcomes yet"
        columns={[
          {
            head: 'Threshold',
            names: true,
            cell: (row) => (
              <>
                {numberText(row.threshold)} {row === now && <Badge tone="info">now</Badge>}
              </>
            ),
          },
          { head: 'Found', numeric: true, cell: (row) => countText(row.truePositives) },
          { head: 'Missed', numeric: true, cell: (row) => countText(row.falseNegatives) },
          { head: 'False alarms', numeric: true, cell: (row) => countText(row.falsePositives) },
          { head: 'Recall', numeric: true, cell: (row) => share(row.recall) },
          { head: 'Precision', numeric: true, cell: (row) => share(row.precision) },
          { head: 'Accuracy', numeric: true, cell: (row) => share(row.accuracy) },
        ]}
      />
      <p class="hint">
        The threshold is <code>evaluation.threshold</code> of the model file; callers receive the probability.
      </p>
    </section>
  )
}
