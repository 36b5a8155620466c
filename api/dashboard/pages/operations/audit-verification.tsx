/** Verifies the newest entries of the audit log and shows the result. */
import { countText } from '../../../../charts/figures.ts'
import { verifyTail, type TailReport } from '../../../../store/audit/verify-tail.ts'
import { definePage } from '../../page.ts'
import { numberText } from '../../components/elements.tsx'

/** The verification stops here, so that the page loads and other requests are served. */
const withinMs = 5_000

interface Verification {
  report: TailReport
  tookMs: number
  signedUpTo?: number
  issues: string[]
}

export const verificationPage = definePage<Verification>({
  async load({ store, heads }) {
    const fromMs = performance.now()
    const [{ heads: known, issues }, last] = await Promise.all([heads.read(), heads.last()])
    const report = await verifyTail(store, { heads: known, withinMs, now: () => performance.now() })
    return {
      report,
      issues,
      tookMs: performance.now() - fromMs,
      signedUpTo: last?.seq,
    }
  },
  title: () => 'Audit verification',
  view: ({ report, tookMs, signedUpTo, issues }) => {
    const { rows, newest, oldest, heads, stopped } = report
    const breach = report.breach ?? issues[0]
    return (
      <>
        <p class="crumbs">
          <a href="/audit">Audit</a>
        </p>
        <h1>Audit verification</h1>
        <section
          class={`card ${breach === undefined ? 'good' : 'bad'}`}
          role={breach === undefined ? 'status' : 'alert'}
        >
          <p class="lead">
            {breach === undefined
              ? rows === 0
                ? 'No entries yet'
                : `Verified: ${countText(rows)} entries intact`
              : `Audit log broken: ${breach}`}
          </p>
          <dl class="facts">
            <dt>Range</dt>
            <dd>
              {rows === 0 ? '—' : `entry ${newest} back to entry ${oldest}`}
              {stopped && ` (stopped after ${withinMs / 1_000} s)`}
            </dd>
            <dt>Signed heads matched</dt>
            <dd>{countText(heads)}</dd>
            <dt>Signed up to</dt>
            <dd>
              {signedUpTo === undefined
                ? 'no signed head on this host yet: removed newest entries would go unnoticed'
                : `entry ${signedUpTo}`}
            </dd>
            <dt>Duration</dt>
            <dd>{numberText(Math.round(tookMs))} ms</dd>
          </dl>
          {breach !== undefined && (
            <p>
              Compare the database with a backup · <a href="/runbooks/audit-broken">Runbook</a>
            </p>
          )}
          {stopped && breach === undefined && (
            <p>
              Verify all entries: <code>tenure audit verify</code>
            </p>
          )}
        </section>
        <form method="get" action="/audit/verification" aria-label="Verification">
          <button class="second">Verify again</button>
        </form>
      </>
    )
  },
})
