/** Shows how much a version needs each feature, as a chart and a table. */
import { countText } from '../../charts/figures.ts'
import { importanceSvg } from '../../charts/importance.ts'
import { metricName, gainText } from '../../../domain/figures.ts'
import type { ImportanceReport } from '../../../domain/explanation/importance.ts'
import type { PageElement } from '../page.ts'
import { ChartFigure, drawChartSizes, type ChartSizes } from './chart.tsx'
import { DataTable } from './elements.tsx'

/** Draws the chart; undefined when no importance was measured. */
export const drawImportance = async (
  version: string,
  importance: ImportanceReport | null | undefined,
): Promise<ChartSizes | undefined> =>
  importance == null
    ? undefined
    : drawChartSizes(
        { id: 'importance', title: `Importance of the features of ${version}`, wide: 350 },
        importance,
        importanceSvg,
      )

/** Renders nothing without a chart. */
export const ImportanceSection = ({
  importance,
  chart,
}: {
  importance: ImportanceReport | null | undefined
  chart: ChartSizes | undefined
}): PageElement => {
  if (!importance || chart === undefined) return <></>
  const { metric, rows, permutations, features, unmeasured = [] } = importance
  return (
    <section class="card" aria-labelledby="importance-heading">
      <h2 id="importance-heading">Feature importance</h2>
      <p class="quiet small">
        Fall of {metricName(metric)} when one column of {countText(rows)} test rows is shuffled,{' '}
        {permutations} times. Features that carry the same information share their importance.
        {unmeasured.length > 0 &&
          ` Not measured in time: ${unmeasured.length} ${unmeasured.length === 1 ? 'feature' : 'features'}.`}
      </p>
      <div class="beside gates">
        <DataTable
          caption="Feature importance"
          hideCaption
          rows={features}
          empty="No feature was measured"
          columns={[
            { head: 'Feature', names: true, cell: ({ feature }) => feature },
            { head: 'Fall', numeric: true, cell: ({ fall }) => gainText(fall) },
            {
              head: '95 % interval',
              numeric: true,
              cell: ({ low, high }) => (low === null ? '—' : `${gainText(low)} to ${gainText(high)}`),
            },
          ]}
        />
        <ChartFigure chart={chart} />
      </div>
    </section>
  )
}
