/** Whether the record of production changes is whole: the newest rows, followed as long as somebody waits for a page. */
import { verifyTail, type TailReport } from '../../../../store/audit/verify-tail.ts'
import { page } from '../../page.ts'
import { countText, numberText } from '../../components/elements.tsx'

/** Longer nobody waits for a page, and this process answers others meanwhile. */
const withinMs = 5_000

interface Verification {
  report: TailReport
  tookMs: number
  signedUpTo?: number
  issues: string[]
}

export const verification = page<Verification>({
  async load({ store, heads }) {
    const fromMs = performance.now()
    const [{ heads: known, issues }, last] = await Promise.all([heads.read(), heads.last()])
    const report = await verifyTail(store, { heads: known, withinMs, now: () => performance.now() })
    return {
      report,
      issues,
      tookMs: performance.now() - fromMs,
      signedUpTo: last === undefined ? undefined : last.seq,
    }
  },
  title: () => 'Verification of the audit',
  view: ({ report, tookMs, signedUpTo, issues }) => {
    const { rows, newest, oldest, heads, stopped } = report
    const breach = report.breach ?? issues[0]
    return (
      <>
        <p class="crumbs">
          <a href="/audit">Audit</a>
        </p>
        <h1>Verification of the audit</h1>
        <section
          class={`card ${breach === undefined ? 'good' : 'bad'}`}
          role={breach === undefined ? 'status' : 'alert'}
        >
          <p class="lead">
            {breach === undefined
              ? rows === 0
                ? 'There is no row yet.'
                : `${countText(rows)} rows are whole: none was changed, moved, added or taken away.`
              : `The audit is broken: ${breach}.`}
          </p>
          <dl class="facts">
            <dt>Followed</dt>
            <dd>
              {rows === 0 ? 'nothing' : `row ${newest} back to row ${oldest}`}
              {stopped && `, as far as ${withinMs / 1_000} s reach`}
            </dd>
            <dt>Signed heads met</dt>
            <dd>{countText(heads)}</dd>
            <dt>Signed up to</dt>
            <dd>
              {signedUpTo === undefined
                ? 'no head is kept here yet: a cut tail would not show'
                : `row ${signedUpTo}`}
            </dd>
            <dt>It took</dt>
            <dd>{numberText(Math.round(tookMs))} ms</dd>
          </dl>
          {breach !== undefined && (
            <p>
              Compare the database with a backup; <a href="/runbooks/audit-broken">what to do</a>.
            </p>
          )}
          {stopped && breach === undefined && (
            <p>
              <code>tenure audit verify</code> follows the whole chain, however long it is.
            </p>
          )}
        </section>
        <form method="get" action="/audit/verification" aria-label="Verification">
          <button class="second">Verify once more</button>
        </form>
      </>
    )
  },
})
