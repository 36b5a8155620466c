/** Shows the behaviour tests of an evaluation, failed tests first, with the rows that failed worst. */
import type { BehaviourRow, BehaviourVerdict } from '../../../domain/behaviour/behaviour-test.ts'
import { shownValue } from '../../../domain/behaviour/probes.ts'
import type { PageElement } from '../page.ts'
import { Badge, DataTable, type BadgeTone } from './elements.tsx'

const tones: Readonly<Record<BehaviourVerdict, BadgeTone>> = {
  pass: 'good',
  fail: 'bad',
  not_computed: 'quiet',
}
const words: Readonly<Record<BehaviourVerdict, string>> = {
  pass: 'passes',
  fail: 'fails',
  not_computed: 'not computed',
}
const order: readonly BehaviourVerdict[] = ['fail', 'not_computed', 'pass']

/** Renders nothing without tests. */
export const BehaviourTests = ({
  tests = [],
}: {
  tests: readonly BehaviourRow[] | undefined
}): PageElement => {
  if (tests.length === 0) return <></>
  const worstFirst = tests.toSorted(
    (a, b) => order.indexOf(a.challenger.verdict) - order.indexOf(b.challenger.verdict),
  )
  const examples = worstFirst.flatMap(({ name, challenger }) =>
    challenger.examples.map((example) => ({ name, ...example })),
  )
  return (
    <section class="card" aria-labelledby="tests-heading">
      <h2 id="tests-heading">Behaviour tests</h2>
      <DataTable
        caption="Behaviour tests"
        hideCaption
        rows={worstFirst}
        empty=""
        columns={[
          { head: 'Test', names: true, cell: ({ name }) => name },
          { head: 'Kind', cell: ({ kind }) => kind },
          { head: 'Challenger', cell: ({ challenger }) => <Verdict verdict={challenger.verdict} /> },
          {
            head: 'Champion',
            cell: ({ champion }) => (champion === undefined ? '—' : <Verdict verdict={champion.verdict} />),
          },
          { head: 'Finding', cell: ({ challenger }) => challenger.message },
        ]}
      />
      {examples.length > 0 && (
        <DataTable
          caption="Worst rows"
          rows={examples}
          empty=""
          columns={[
            { head: 'Test', names: true, cell: ({ name }) => name },
            {
              head: 'Test row',
              numeric: true,
              cell: ({ place }) => (place === undefined ? '—' : String(place)),
            },
            { head: 'Change', cell: ({ change }) => change ?? '—' },
            { head: 'Before', cell: ({ before }) => before },
            { head: 'After', cell: ({ after }) => after },
            {
              head: 'Row',
              cell: ({ row }) => (
                <span class="small">
                  {row === undefined
                    ? 'not stored: the rows are personal data'
                    : Object.entries(row)
                        .map(([name, value]) => `${name} ${shownValue(value)}`)
                        .join(', ')}
                </span>
              ),
            },
          ]}
        />
      )}
    </section>
  )
}

const Verdict = ({ verdict }: { verdict: BehaviourVerdict }): PageElement => (
  <Badge tone={tones[verdict]}>{words[verdict]}</Badge>
)
