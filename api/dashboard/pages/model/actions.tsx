/**
 * Shows and handles what an operator does with a model: rollback, kill switch, retraining, drill. Each action is a sheet over the model page,
 * and a page of its own without script, that says from → to with its evidence before it asks. Its form carries what was shown, so that an
 * outdated page changes nothing else. The result is a notice on the model page, with *Undo* where the system can undo.
 */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { drillKindNames, drillKinds } from '../../../../domain/drill.ts'
import { isError } from '../../../../domain/errors.ts'
import { inMetricOrder, metricName, metricText } from '../../../../domain/figures.ts'
import type { Role } from '../../../../domain/roles.ts'
import { flagNames, killSwitchModes, type KillSwitchMode } from '../../../../domain/serving/kill-switch.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { getModel } from '../../../../store/registry/models.ts'
import { findVersion, type Version } from '../../../../store/registry/versions.ts'
import { findRollbackPlan, type RollbackPlan } from '../../../../store/release/rollback.ts'
import { findKillSwitch } from '../../../../store/serving/kill-switches.ts'
import type { Actor } from '../../../auth/authentication.ts'
import type { ApiDeps } from '../../../deps.ts'
import { checkInput, formReason, writtenReason } from '../../../http/schemas.ts'
import { runOrDefer } from '../../../services/start-command.ts'
import { requireKillSwitch, setKillSwitch } from '../../../services/kill-switch.ts'
import { orderRollback } from '../../../services/rollback/rollback-model.ts'
import { startDrill } from '../../../services/start-drill.ts'
import { startRetraining } from '../../../services/start-retraining.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { givenReason, Reason, reasonFields } from '../../components/reason.tsx'
import { Facts, Time, withCode, type Fact, type Tone } from '../../components/elements.tsx'
import { ModelCrumbs, modelHref, retrainingHref } from '../../components/links.tsx'
import { listHref } from '../../components/pager.tsx'
import { definePage, type AnyPage, type FormHandler, type PageElement } from '../../page.ts'
import { renderPage } from '../../render-page.tsx'
import { sentenceCase } from '../../labels.ts'
import { shortVersion } from '../overview/cells.tsx'
import { modelActionNames, modelActions, type ModelActionName } from './action-roles.ts'

interface Subject {
  deps: ApiDeps
  actor: Actor
  model: string
}

/** What a sheet shows before it asks. */
interface Asked {
  /** From → to, with the evidence. */
  lead: PageElement
  facts?: readonly (Fact | undefined)[]
  consequence: string
  /** Fields that bind the form to what is shown. */
  shown?: Readonly<Record<string, string>>
  /** One of them is sent. A single one needs no choice. */
  choices: readonly { value: string; word: string; does?: string }[]
  button: { word: string; look?: 'danger' }
  /** Why the action is impossible now, and what can be done instead. */
  refusal?: PageElement | undefined
}

/** What was done, as a notice on the model page. */
interface Done {
  title: string
  message: string
  status?: number
  tone?: Tone
  /** Where the result is followed. */
  follow?: { href: string; word: string }
  /** The form that undoes it; absent where nothing does. */
  undo?: { href: string; fields: Readonly<Record<string, string>> }
}

interface ModelAction {
  /** Whether the form has a reason. */
  reason: 'required' | 'optional' | 'none'
  /** The reasons that are offered. */
  suggestions: readonly string[]
  ask(subject: Subject): Promise<Asked>
  run(subject: Subject, sent: Sent): Promise<Done>
}

const sent = z.object({
  once: z.string().regex(/^[\w-]{1,100}$/),
  choice: z.string().max(100),
  ...reasonFields,
  from: z.string().max(300).optional(),
  to: z.string().max(300).optional(),
  revision: z.coerce.number().int().min(0).optional(),
})
/** With the id of the command: a form that is sent twice is one command. */
type Sent = z.infer<typeof sent> & { id: string }

const planOf = ({ deps, model }: Subject): Promise<RollbackPlan> =>
  findRollbackPlan(deps.store, model, ({ version }) => deps.serving.routing.issueOf(version))

const switchWords: Readonly<Record<KillSwitchMode, string>> = {
  normal: 'End the kill switch',
  champion: 'Serve the last known good champion',
  fallback: 'Serve the fallback',
  refuse: 'Refuse all requests',
}

/** Why the model cannot serve a fallback now; undefined when it can. */
async function fallbackIssue({ deps, model }: Subject): Promise<string | undefined> {
  try {
    await requireKillSwitch(deps.store, { model, serve: 'fallback' })
    return undefined
  } catch (error) {
    if (!isError(error, 'command_refused') && !isError(error, 'no_rollback_target')) throw error
    return error.message
  }
}

/** What can be done where no version can be returned to. */
async function insteadOfRollback(subject: Subject): Promise<PageElement> {
  const issue = await fallbackIssue(subject)
  const { word, allow } = modelActions['kill-switch']
  const may = allow.includes(subject.actor.role)
  return (
    <>
      {issue === undefined
        ? 'The fallback of the model file can serve by kill switch.'
        : `No fallback either: ${issue}. The kill switch can refuse all requests.`}{' '}
      {may ? <a href={`${modelHref(subject.model)}/kill-switch`}>{word}…</a> : `It needs ${orList(allow)}.`}
    </>
  )
}

const orList = (allow: readonly Role[]): string => `the role ${allow.join(' or ')}`

/** Shows since when the target is known good, and a metric of both, the primary one if they have it: `known good since 2026-11-27 05:49 · AUC 0.6985 vs 0.6846, other rows`. */
const Evidence = ({
  from,
  to,
  primary,
}: {
  from: Version | undefined
  to: Version | undefined
  primary: string | undefined
}): PageElement => {
  const [before, after] = [from?.lineage.metrics ?? {}, to?.lineage.metrics ?? {}]
  const metric = [...(primary === undefined ? [] : [primary]), ...inMetricOrder(Object.keys(after))].find(
    (name) => before[name] != null && after[name] != null,
  )
  const isSame = from !== undefined && from.lineage.snapshot === to?.lineage.snapshot
  return (
    <>
      {to?.knownGoodAt !== undefined && [' · known good since ', <Time at={to.knownGoodAt} />]}
      {metric !== undefined &&
        ` · ${metricName(metric)} ${metricText(after[metric])} vs ${metricText(before[metric])}, ${isSame ? 'the same' : 'other'} rows`}
    </>
  )
}

const actions: Readonly<Record<ModelActionName, ModelAction>> = {
  rollback: {
    reason: 'required',
    suggestions: ['Requests fail', 'Wrong predictions', 'Quality lost', 'Too slow'],
    async ask(subject) {
      const { deps, model } = subject
      const [{ definition }, plan] = await Promise.all([getModel(deps.store, model), planOf(subject)])
      const { from, to, release, refusal, passedOver } = plan
      const [fromVersion, toVersion, instead] = await Promise.all([
        from === undefined ? undefined : findVersion(deps.store, from),
        to === undefined ? undefined : findVersion(deps.store, to),
        from === undefined || to !== undefined ? undefined : insteadOfRollback(subject),
      ])
      const short = (version: string | undefined) =>
        version === undefined ? 'no version' : shortVersion(model, version)
      const primary = definition.evaluation?.policy?.primary
      return {
        lead: (
          <>
            <strong>
              {short(from)} → {short(to)}
            </strong>
            <Evidence from={fromVersion} to={toVersion} primary={primary} />
            {to !== undefined && ` · ${short(from)} is never released again`}
          </>
        ),
        facts: [
          release === undefined
            ? undefined
            : ['Release', <a href={`/releases/${release}`}>{`The open release of ${from}`}</a>],
          passedOver.length === 0 || to === undefined ? undefined : ['Passed over', passedOver.join('; ')],
        ],
        consequence: `All traffic goes to ${short(to)} at once. This has no undo: a version that was rolled back is never released again.`,
        shown: { from: from ?? '', to: to ?? '' },
        choices: [{ value: 'rollback', word: 'Roll back' }],
        button: { word: `Roll back to ${short(to)}`, look: 'danger' },
        refusal:
          refusal === undefined ? undefined : (
            <>
              {withCode(`${refusal.replace(/^no /, 'No ')}.`)} {instead}
            </>
          ),
      }
    },
    async run(subject, { id, from = '', to = '', reason }) {
      const plan = await planOf(subject)
      if (plan.from === from && (plan.to ?? '') !== to)
        return {
          status: 409,
          tone: 'warn',
          title: 'Page out of date',
          message: `Nothing was rolled back. Changed since the page was loaded: ${to} → ${plan.to ?? 'no version'}.`,
        }
      const { deps, actor, model } = subject
      const { message } = await orderRollback(deps, actor, { id, model, version: from, reason })
      return {
        title: 'Rolled back',
        message: `${message}. Retrain for a new version.`,
      }
    },
  },
  'kill-switch': {
    reason: 'required',
    suggestions: ['Requests fail', 'Wrong predictions', 'Wrong inputs', 'Over'],
    async ask(subject) {
      const { deps, model } = subject
      const [flag, champion, issue] = await Promise.all([
        findKillSwitch(deps.store, model),
        findChampion(deps.store, model),
        fallbackIssue(subject),
      ])
      const now = flag?.serve ?? 'normal'
      return {
        lead:
          flag === undefined || now === 'normal' ? (
            <>
              <strong>Not set</strong> · the route decides · champion{' '}
              {champion === undefined ? '—' : shortVersion(model, champion.version)}
            </>
          ) : (
            <>
              <strong>Pinned to {now}</strong> since <Time at={flag.at} /> by {flag.actor}: {flag.reason}
            </>
          ),
        facts: [issue === undefined ? undefined : ['No fallback', withCode(issue)]],
        consequence:
          'It overrides the route until it is ended, also during a release and while Temporal is down. It can be undone.',
        shown: { revision: String(flag?.revision ?? 0) },
        choices: flagNames
          .filter((serve) => serve !== now && (serve !== 'fallback' || issue === undefined))
          .map((serve) => ({ value: serve, word: switchWords[serve], does: killSwitchModes[serve] })),
        button: { word: now === 'normal' ? 'Set the kill switch' : 'Change the kill switch', look: 'danger' },
      }
    },
    async run({ deps, actor, model }, { choice, reason, revision }) {
      const serve = checkInput(z.enum(flagNames), choice, 'the form')
      const before = (await findKillSwitch(deps.store, model))?.serve ?? 'normal'
      const { flag, problems } = await setKillSwitch(deps, actor, { model, serve, reason, revision })
      const followed =
        problems.length === 0
          ? 'Every live replica follows.'
          : `Replicas catching up: ${problems.join('; ')}.`
      return {
        title: serve === 'normal' ? 'Kill switch ended' : 'Kill switch set',
        message: `${killSwitchModes[flag.serve]} ${followed}`,
        tone: problems.length === 0 ? 'good' : 'warn',
        undo: {
          href: `${modelHref(model)}/kill-switch`,
          fields: {
            once: randomUUID(),
            choice: before,
            revision: String(flag.revision),
            reason: `undone: ${reason}`.slice(0, 2_000),
          },
        },
      }
    },
  },
  retrain: {
    reason: 'optional',
    suggestions: ['Quality lost', 'Input drift', 'New data'],
    async ask({ deps, model }) {
      const [{ definition }, champion] = await Promise.all([
        getModel(deps.store, model),
        findChampion(deps.store, model),
      ])
      return {
        lead: (
          <>
            <strong>
              {champion === undefined ? 'no version' : shortVersion(model, champion.version)} → a challenger
            </strong>{' '}
            · trained on the data known now
          </>
        ),
        consequence:
          'It is released only if it passes the offline gates; approvals and stages apply as in the model file.',
        choices: [{ value: 'retrain', word: 'Retrain' }],
        button: { word: 'Start the retraining' },
        refusal:
          definition.isBrought === true ? (
            <>
              {model} is not trained here. Bring a version:{' '}
              <code>tenure versions register {model} --artifact FILE</code>
            </>
          ) : undefined,
      }
    },
    async run({ deps, actor, model }, { id, reason }) {
      const input = { model, ...(reason !== '' && { reason }) }
      const outcome = await runOrDefer(deps, startRetraining, actor, input, { id })
      if ('deferred' in outcome)
        return {
          status: 202,
          tone: 'warn',
          title: 'Queued',
          message: `The retraining is ${outcome.deferred.message}.`,
        }
      const href = retrainingHref(outcome.result.id)
      return {
        title: 'Retraining started',
        message: 'Nothing changes in production unless its version passes the gates.',
        follow: { href, word: 'Follow it' },
        undo: { href: `${href}/cancel`, fields: { reason: 'undone' } },
      }
    },
  },
  drill: {
    reason: 'none',
    suggestions: [],
    async ask({ deps, model }) {
      const champion = await findChampion(deps.store, model)
      return {
        lead: (
          <>
            <strong>
              {champion === undefined ? 'no version' : shortVersion(model, champion.version)} → a faulty copy
            </strong>{' '}
            that is never promoted
          </>
        ),
        consequence:
          'Rehearses a rollback. Traffic and failure budget are those of the model file; copies of requests without one.',
        choices: [
          { value: 'policy', word: 'As in the model file', does: 'The kinds that the drill policy names.' },
          ...drillKindNames.map((kind) => ({
            value: kind,
            word: sentenceCase(kind),
            does: drillKinds[kind],
          })),
        ],
        button: { word: 'Start the drill' },
        refusal: champion === undefined ? <>{model} has no champion to make a candidate from.</> : undefined,
      }
    },
    async run({ deps, actor, model }, { id, choice }) {
      const kinds = choice === 'policy' ? undefined : [checkInput(z.enum(drillKindNames), choice, 'the form')]
      await startDrill(deps, actor, { model, changes: {}, ...(kinds && { kinds }) }, { id })
      return {
        title: 'Drill started',
        message: 'To end it early, abort its release.',
        follow: { href: listHref('/drills', { model }), word: 'Follow it' },
      }
    },
  },
}

/** Without a champion, these have no subject. */
const needsChampion: readonly ModelActionName[] = ['rollback', 'drill']

/** Links to the actions that this user may take. With script, the sheet opens over the page. */
export const ModelActions = ({
  model,
  actor,
  hasChampion,
}: {
  model: string
  actor: Actor
  hasChampion: boolean
}): PageElement => {
  const offered = modelActionNames.filter(
    (name) => modelActions[name].allow.includes(actor.role) && (hasChampion || !needsChampion.includes(name)),
  )
  return offered.length === 0 ? (
    <></>
  ) : (
    <nav class="actions" aria-label={`Actions on ${model}`}>
      {offered.map((name) => (
        <a
          class="button second"
          href={`${modelHref(model)}/${name}`}
          hx-get={`${modelHref(model)}/${name}`}
          hx-select="#ask"
          hx-target="#sheet"
          hx-swap="innerHTML"
        >
          {modelActions[name].word}…
        </a>
      ))}
    </nav>
  )
}

/** Where a sheet opens; outside of what reloads itself. */
export const ActionSheet = (): PageElement => (
  <dialog id="sheet" class="sheet" aria-labelledby="ask-title"></dialog>
)

export const actionPage = (name: ModelActionName): AnyPage => {
  const { ask, reason, suggestions } = actions[name]
  const { word } = modelActions[name]
  return definePage({
    async load(deps, { actor, params }) {
      const { name: model } = await getModel(deps.store, params['name']!)
      return { model, ...(await ask({ deps, actor, model })) }
    },
    title: ({ model }) => `${word}: ${model}`,
    view: ({ model, lead, facts = [], consequence, shown = {}, choices, button, refusal }, { token }) => (
      <>
        <ModelCrumbs model={model} />
        <section class="card sheet" id="ask" aria-labelledby="ask-title">
          <h1 id="ask-title">
            {word}: {model}
          </h1>
          <p class="lead">{lead}</p>
          {facts.some((fact) => fact !== undefined) && <Facts facts={facts} />}
          {refusal !== undefined || token === undefined ? (
            <>
              <p class="notice warn">{refusal ?? 'Sign in to do this: this key has no session.'}</p>
              <Leave model={model} word="Back" />
            </>
          ) : (
            <form method="post" action={`${modelHref(model)}/${name}`} aria-labelledby="ask-title">
              <p class="quiet">{consequence}</p>
              <TokenField token={token} />
              <input type="hidden" name="once" value={randomUUID()} />
              {Object.entries(shown).map(([field, value]) => (
                <input type="hidden" name={field} value={value} />
              ))}
              <Choices choices={choices} />
              {reason !== 'none' && (
                <Reason name="reason" suggestions={suggestions} isRequired={reason === 'required'} />
              )}
              <div class="actions">
                <button class={button.look}>{button.word}</button>
                <Leave model={model} word="Cancel" />
              </div>
            </form>
          )}
        </section>
      </>
    ),
  })
}

/** Closes the sheet, or leads back to the model. */
const Leave = ({ model, word }: { model: string; word: string }): PageElement => (
  <a class="button second" data-closes="sheet" href={modelHref(model)}>
    {word}
  </a>
)

/** A drill of the model file is chosen from the start; what callers get is never. */
const Choices = ({ choices }: Pick<Asked, 'choices'>): PageElement =>
  choices.length === 1 ? (
    <input type="hidden" name="choice" value={choices[0]!.value} />
  ) : (
    <fieldset class="options">
      <legend class="aloud">Choice</legend>
      {choices.map(({ value, word, does }) => (
        <label>
          <input
            type="radio"
            name="choice"
            value={value}
            required
            checked={value === 'policy' || value === 'normal'}
          />
          <span>
            {word}
            {does !== undefined && <span class="quiet small">{does}</span>}
          </span>
        </label>
      ))}
    </fieldset>
  )

/** Says on the model page what was done, with its undo. */
const Notice = ({ done, token }: { done: Done; token: string | undefined }): PageElement => {
  const { title, message, tone = 'good', follow, undo } = done
  return (
    <section class={`notice ${tone} done`} role="status" aria-label={title}>
      <p>
        <strong>{title}</strong> {withCode(message)}{' '}
        {follow !== undefined && <a href={follow.href}>{follow.word}</a>}
      </p>
      {undo !== undefined && token !== undefined && (
        <form method="post" action={undo.href} aria-label={`Undo: ${title}`}>
          <TokenField token={token} />
          {Object.entries(undo.fields).map(([field, value]) => (
            <input type="hidden" name={field} value={value} />
          ))}
          <button class="second">Undo</button>
        </form>
      )}
    </section>
  )
}

export const submitAction =
  (name: ModelActionName): FormHandler =>
  async (deps, ask, places) => {
    const { run, reason } = actions[name]
    const actor = ask.actor!
    const { name: model } = await getModel(deps.store, ask.params['name']!)
    const form = checkInput(sent, ask.body, 'the form')
    const typed = reason === 'required' ? writtenReason : formReason
    const written =
      checkInput(z.object({ reason: typed }), { reason: givenReason(form) }, 'the form').reason ?? ''
    const id = `${actor.id}/${name}/${form.once}`
    const done = await run({ deps, actor, model }, { ...form, reason: written, id })
    const notice = <Notice done={done} token={ask.session?.token} />
    const place = places.find(({ path }) => path === '/models/:name')!
    const page = await renderPage(deps, { place, places, notice }, { ...ask, target: modelHref(model) })
    return { ...page, status: done.status ?? 200 }
  }
