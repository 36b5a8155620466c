/** Lists the pages of the dashboard with one text that each page shows, for the tests that visit every page. */

/** Returns the concrete path of each page with a text on it, for the rows of `all-pages.test.ts`. */
export function pagesOf({ model, champion }: Record<'model' | 'champion', string>): [string, string][] {
  const at = (path: string) => `/models/${model}${path}`
  return [
    ['/', 'Changed in the last 24 h'],
    ['/search', 'Type a model, a version, an outcome or a name.'],
    ['/search?q=late-trains+v1.44', `${model}_v1.44.0`],
    ['/search?q=late-trains+%25', 'No results.'],
    ['/releases', 'Releases'],
    ['/retrainings', 'Retrainings'],
    ['/models', 'Will the train be late?'],
    [at(''), 'Live quality by week'],
    [at(''), 'the mean gap between prediction and outcome'],
    [at('?at=2099-01-01'), 'promotion by anna'],
    [at('?at=2001-01-01'), 'had no champion then'],
    [at('?at=2001-01-01+12:00'), 'had no champion then'],
    [at('/features'), 'hour: live vs training data'],
    [at('/reviews'), 'has no band for review'],
    [at(`/versions/${champion}`), 'Limitations'],
    [at(`/versions/${champion}/card`), 'Inputs'],
    [at(''), 'What another threshold would do'],
    [at(''), 'Training loss of the last runs'],
    ['/glossary', 'Population stability index'],
    ['/triggers', 'a request with region'],
    ['/triggers', 'batch <span class="badge quiet">waiting</span>'],
    ['/guide', 'Three things to try next'],
    ['/sweeps', 'swp_1'],
    ['/sweeps/swp_1', 'Trials (best first)'],
    ['/versions', `${model}_v1.44.0`],
    [`/versions?metric=auc>=0.64&order=auc&model=${model}`, `${model}_v1.44.0`],
    [`/compare?one=${model}@v1.1.0&other=${champion}`, 'Differences'],
    ['/compare', 'Compare two versions'],
    ['/data', 'Snapshots'],
    [`/data/${encodeURIComponent(`snapshot ${champion}`)}`, 'Not validated yet'],
    ['/alerts', 'Quality lost'],
    ['/runbooks/quality-lost', 'Quality lost'],
    ['/runbooks/overloaded', 'What to do'],
    ['/drills', 'lost-replica'],
    ['/audit', 'champion.promoted'],
  ]
}

/** Pages that need other rows or another role, each with the test that covers it. */
export const pagesWithTests = {
  '/releases/:id': 'test/api/dashboard/approver.test.ts',
  '/releases/:id/simulation': 'test/api/dashboard/pages/simulate.test.ts',
  '/retrainings/:id': 'test/api/dashboard/approver.test.ts',
  '/audit/verification': 'test/api/dashboard/all-pages.test.ts',
}
