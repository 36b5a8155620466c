/** What a validation expected of a snapshot and what it found: what does not comply first. */
import type { ExpectationResult, ValidationVerdict } from '../../../../domain/validation/expectations.ts'
import type { StoredValidation } from '../../../../store/dashboard/data-lists.ts'
import type { View } from '../../page.ts'
import { Badge, countText, Table, Time, type Tone } from '../../components/elements.tsx'
import { maxResults, reportOf } from '../../components/validation-report.ts'
import { plain } from '../../labels.ts'

export const verdictToneOf: Readonly<Record<ValidationVerdict, Tone>> = {
  pass: 'good',
  warn: 'warn',
  block: 'bad',
}

const words = {
  pass: 'Everything complies.',
  warn: 'Something that warns does not comply.',
  block: 'The batch is quarantined.',
}

/** What does not comply first, what blocks before what warns. */
const rank = ({ passed, severity }: ExpectationResult): number => (passed ? 2 : severity === 'block' ? 0 : 1)

export const Validation = ({ validation }: { validation: StoredValidation }): View => {
  const { results } = reportOf(validation)
  return (
    <section class={`card ${verdictToneOf[validation.verdict]}`}>
      <h2>Validation</h2>
      <p>
        <Badge tone={verdictToneOf[validation.verdict]}>{validation.verdict}</Badge>{' '}
        {words[validation.verdict]}{' '}
        <span class="quiet">
          <Time at={validation.createdAt} /> UTC
        </span>
      </p>
      <Table
        caption="Expectations"
        rows={results.toSorted((one, other) => rank(one) - rank(other)).slice(0, maxResults)}
        empty="It keeps no results."
        columns={[
          { head: 'Expectation', names: true, cell: ({ check }) => plain(check) },
          { head: 'Of', cell: ({ subject }) => subject },
          {
            head: 'Result',
            cell: ({ passed, severity }) => (
              <Badge tone={passed ? 'good' : severity === 'block' ? 'bad' : 'warn'}>
                {passed ? 'complies' : severity === 'block' ? 'blocks' : 'warns'}
              </Badge>
            ),
          },
          { head: 'What was seen', cell: ({ message }) => message },
          {
            head: 'Failing rows',
            numeric: true,
            cell: ({ failing }) => (failing === undefined ? '–' : countText(failing)),
          },
          { head: 'Such as', cell: ({ examples }) => (examples ?? []).slice(0, 3).join(', ') },
        ]}
      />
    </section>
  )
}
