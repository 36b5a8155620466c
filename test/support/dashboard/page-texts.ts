/** Lists the pages of the dashboard with one text that each page shows and with its address, for the tests that visit every page. */
import { snapshotOf } from '../serving/registration.ts'
import { modelActionNames } from '../../../api/dashboard/pages/model/action-roles.ts'
import { pageRegistry } from '../../../api/dashboard/page-registry.ts'

/** Returns the concrete path of each page with a text on it, for the rows of `all-pages.test.ts`. */
export function pagesOf({ model, champion }: Record<'model' | 'champion', string>): [string, string][] {
  const at = (path: string) => `/models/${model}${path}`
  return [
    ['/', 'Changed in the last 24 h'],
    ['/timeline', 'The last 7 days, or since the first event.'],
    ['/search', 'Type a model, a version, an outcome or a name.'],
    ['/search?q=late-trains+v1.44', `${model}_v1.44.0`],
    ['/search?q=late-trains+%25', 'No results.'],
    ['/releases', 'Releases'],
    ['/retrainings', 'Retrainings'],
    ['/models', 'Will the train be late?'],
    [at(''), 'Live quality by week'],
    [at(''), '1 of 3 features drifted: hour PSI'],
    [at('?part=champion'), 'in the last minute'],
    [at(''), 'the mean gap between prediction and outcome'],
    [at('?at=2099-01-01'), 'promotion by anna'],
    [at('?at=2001-01-01'), 'had no champion then'],
    [at('?at=2001-01-01+12:00'), 'had no champion then'],
    [at('/features'), 'hour: live vs training data'],
    [at('/reviews'), 'has no band for review'],
    [at(`/versions/${champion}`), 'Limitations'],
    [at(`/versions/${champion}`), '<span class="badge good">champion</span>'],
    [at(`/versions/${champion}/card`), 'Inputs'],
    [at(''), 'What another threshold would do'],
    [at(''), 'Training loss of the last runs'],
    ['/device', 'Show a code'],
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
    [`/data/${encodeURIComponent(snapshotOf(champion))}`, 'not validated yet'],
    ['/alerts', 'quality lost'],
    ['/runbooks/quality-lost', 'Quality lost'],
    ['/runbooks/overloaded', 'What to do'],
    ['/drills', 'lost-replica'],
    ['/drills', 'returns values that are not finite'],
    ['/audit', 'champion.promoted'],
  ]
}

/** Pages that need other rows or another role, each with the test that covers it. */
export const pagesWithTests = {
  '/releases/:id': 'test/api/dashboard/approver.test.ts',
  '/releases/:id/simulation': 'test/api/dashboard/pages/simulate.test.ts',
  '/retrainings/:id': 'test/api/dashboard/approver.test.ts',
  ...Object.fromEntries(
    modelActionNames.map((name) => [`/models/:name/${name}`, 'test/api/dashboard/model-actions.test.ts']),
  ),
  '/audit/verification': 'test/api/dashboard/all-pages.test.ts',
}

/** Pages without parameters; each is found at its own path. */
const ownPaths = pageRegistry.flatMap(({ path, allow }) => (path.includes(':') ? [] : [{ path, allow }]))

/** The address of each page on the rows of `openDashboard`, by its path in the registry. */
export const addressesOf = ({
  model,
  champion,
  candidate,
  release,
}: Record<'model' | 'champion' | 'candidate' | 'release', string>): Record<string, string> => ({
  ...Object.fromEntries(ownPaths.map(({ path }) => [path, path])),
  '/releases/:id': `/releases/${release}`,
  '/releases/:id/simulation': `/releases/${release}/simulation`,
  '/retrainings/:id': `/retrainings/${encodeURIComponent(`retrain/${model}/1`)}`,
  '/sweeps/:id': '/sweeps/swp_1',
  '/models/:name': `/models/${model}`,
  '/models/:name/features': `/models/${model}/features`,
  ...Object.fromEntries(
    modelActionNames.map((name) => [`/models/:name/${name}`, `/models/${model}/${name}`]),
  ),
  '/models/:name/reviews': `/models/${model}/reviews`,
  '/models/:name/versions/:version': `/models/${model}/versions/${candidate}`,
  '/models/:name/versions/:version/card': `/models/${model}/versions/${candidate}/card`,
  '/versions': `/versions?model=${model}`,
  '/compare': `/compare?one=${champion}&other=${candidate}`,
  '/data/:digest': `/data/${encodeURIComponent(snapshotOf(model))}`,
  '/runbooks/:page': '/runbooks/drift-warn',
  '/search': `/search?q=${model}`,
})

/**
 * Returns what breaks the one clock of a page: a time of day outside of a `<time>`, a time whose title is not on the clock of the zone, and
 * a part or a chart of another zone. Fields and code to paste are left out.
 */
export function clockIssues(html: string, zone: string): string[] {
  const charts = html.match(/<svg[^]*?<\/svg>/g) ?? []
  const times = Array.from(html.matchAll(/<time datetime="([^"]*)"([^>]*)>/g))
  const clock = new Intl.DateTimeFormat('sv-SE', {
    timeZone: zone,
    dateStyle: 'short',
    timeStyle: 'medium',
  })
  const text = html
    .replaceAll(/<(svg|script|textarea|time|code|pre)\b[^]*?<\/\1>/g, ' ')
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll('\u00a0', ' ')
  return [
    ...(html.match(/<header[^]*?data-zone="[^"]*"/)?.[0].endsWith(`"${zone}"`)
      ? []
      : ['the header names another zone']),
    ...Array.from(html.matchAll(/data-zone="([^"]*)"/g)).flatMap(([, each]) =>
      each === zone ? [] : [`a part in ${each}`],
    ),
    ...charts.filter((chart) => />\d\d:\d\d(?::\d\d)?</.test(chart) && !/data-(?:zone|shows)=/.test(chart)),
    ...charts.filter((chart) => /\d\d:\d\d.{0,4} UTC/.test(chart)),
    ...times.flatMap(([whole, at, rest]) => (rest!.includes(clock.format(Date.parse(at!))) ? [] : [whole])),
    ...(text.match(/.{0,40}(?<![\d:])\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?![\d:]).{0,20}/g) ?? []),
  ]
}

/** Pages with the same text for every key and model. */
const constantPages: readonly string[] = ['/runbooks/:page', '/glossary']

/** A model with a model file but no data. */
export const emptyModel = 'nothing-yet'.padEnd(63, 'm')

/** Where pages have nothing to show: those of no object, and those of a model. */
export const emptyAddresses: readonly string[] = pageRegistry.flatMap(({ path, allow }) => {
  const address = path === '/search' ? '/search?q=nothing' : path.replace(':name', emptyModel)
  return address.includes(':') || constantPages.includes(path) || !allow.includes('viewer') ? [] : [address]
})

/** Pages of one object, which a key of another model may not see, and pages for admins. */
export const deniedPages: readonly string[] = pageRegistry.flatMap(({ path, allow }) =>
  (path.includes(':') && !constantPages.includes(path)) || path === '/compare' || !allow.includes('viewer')
    ? [path]
    : [],
)
