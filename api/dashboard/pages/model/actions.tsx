/**
 * Shows and handles what an operator does with a model: rollback, kill switch, retraining, drill. Each action has a page that says from → to
 * and the consequences before it asks. Its form carries what the page showed, so that an outdated page changes nothing else.
 */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { drillKindNames, drillKinds } from '../../../../domain/drill.ts'
import { flagNames, killSwitchModes, type KillSwitchMode } from '../../../../domain/serving/kill-switch.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { getModel } from '../../../../store/registry/models.ts'
import { findRollbackPlan, type RollbackPlan } from '../../../../store/release/rollback.ts'
import { findKillSwitch } from '../../../../store/serving/kill-switches.ts'
import type { Actor } from '../../../auth/authentication.ts'
import type { ApiDeps } from '../../../deps.ts'
import { checkInput, formReason, writtenReason } from '../../../http/schemas.ts'
import { runOrDefer } from '../../../services/start-command.ts'
import { setKillSwitch } from '../../../services/kill-switch.ts'
import { orderRollback } from '../../../services/rollback/rollback-model.ts'
import { startDrill } from '../../../services/start-drill.ts'
import { startRetraining } from '../../../services/start-retraining.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { Facts, Time, withCode, type Fact } from '../../components/elements.tsx'
import { ModelCrumbs, modelHref, retrainingHref } from '../../components/links.tsx'
import { listHref } from '../../components/pager.tsx'
import { definePage, type AnyPage, type FormHandler, type PageElement } from '../../page.ts'
import { navOf, pageText } from '../../render-page.tsx'
import { html, pageHeaders } from '../../security-headers.ts'
import { sentenceCase } from '../../labels.ts'
import { modelActionNames, modelActions, type ModelActionName } from './action-roles.ts'

interface Subject {
  deps: ApiDeps
  actor: Actor
  model: string
}

/** What a page shows before it asks. */
interface Asked {
  facts: readonly (Fact | undefined)[]
  consequence: string
  /** Fields that bind the form to what is shown. */
  shown?: Readonly<Record<string, string>>
  choices: readonly { value: string; word: string; does?: string; look?: 'second' | 'danger' }[]
  /** Why the action is impossible now. */
  refusal?: string | undefined
}

/** A page that leads to the result, or a sentence about it. */
type Done = { location: string } | { title: string; message: string; status?: number }

interface ModelAction {
  /** Whether the form has a reason. */
  reason: 'required' | 'optional' | 'none'
  ask(subject: Subject): Promise<Asked>
  run(subject: Subject, sent: Sent): Promise<Done>
}

const sent = z.object({
  once: z.string().regex(/^[\w-]{1,100}$/),
  choice: z.string().max(100),
  reason: z.string().default(''),
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
  champion: 'Serve the proven champion',
  fallback: 'Serve the fallback',
  refuse: 'Refuse all requests',
}

const actions: Readonly<Record<ModelActionName, ModelAction>> = {
  rollback: {
    reason: 'required',
    async ask(subject) {
      const { from, to, release, refusal, passedOver } = await planOf(subject)
      return {
        facts: [
          ['From', from ?? '—'],
          ['To', to ?? '—'],
          release === undefined
            ? undefined
            : ['Release', <a href={`/releases/${release}`}>{`The open release of ${from}`}</a>],
          passedOver.length === 0 ? undefined : ['Passed over', passedOver.join('; ')],
        ],
        consequence: `All traffic of ${subject.model} goes to ${to ?? 'no version'} at once. ${from ?? 'The version'} is withdrawn and is no rollback target any more.`,
        shown: { from: from ?? '', to: to ?? '' },
        choices: [{ value: 'rollback', word: `Roll back to ${to ?? 'no version'}`, look: 'danger' }],
        refusal,
      }
    },
    async run(subject, { id, from = '', to = '', reason }) {
      const plan = await planOf(subject)
      if (plan.from === from && (plan.to ?? '') !== to)
        return {
          status: 409,
          title: 'Page out of date',
          message: `Nothing was rolled back. Changed since the page was loaded: ${to} → ${plan.to ?? 'no version'}.`,
        }
      const { deps, actor, model } = subject
      const { message } = await orderRollback(deps, actor, { id, model, version: from, reason })
      return { title: 'Rolled back', message: `${message}.` }
    },
  },
  'kill-switch': {
    reason: 'required',
    async ask({ deps, model }) {
      const [{ definition }, flag, champion] = await Promise.all([
        getModel(deps.store, model),
        findKillSwitch(deps.store, model),
        findChampion(deps.store, model),
      ])
      const now = flag?.serve ?? 'normal'
      return {
        facts: [
          ['Now', now === 'normal' ? 'The route decides' : `Pinned to ${now}`],
          flag === undefined || now === 'normal'
            ? undefined
            : [
                'Set',
                <>
                  <Time at={flag.at} /> by {flag.actor}: {flag.reason}
                </>,
              ],
          ['Champion', champion?.version ?? '—'],
        ],
        consequence:
          'A kill switch overrides the route until it is ended. It works during a release and while Temporal is down.',
        shown: { revision: String(flag?.revision ?? 0) },
        choices: flagNames
          .filter((serve) => serve !== now && (serve !== 'fallback' || definition.fallback !== undefined))
          .map((serve) => ({
            value: serve,
            word: switchWords[serve],
            does: killSwitchModes[serve],
            look: serve === 'normal' ? ('second' as const) : ('danger' as const),
          })),
      }
    },
    async run({ deps, actor, model }, { choice, reason, revision }) {
      const serve = checkInput(z.enum(flagNames), choice, 'the form')
      const { flag, problems } = await setKillSwitch(deps, actor, { model, serve, reason, revision })
      const followed =
        problems.length === 0
          ? 'Every live replica follows.'
          : `Replicas catching up: ${problems.join('; ')}.`
      return { title: 'Kill switch set', message: `${killSwitchModes[flag.serve]} ${followed}` }
    },
  },
  retrain: {
    reason: 'optional',
    async ask({ deps, model }) {
      const champion = await findChampion(deps.store, model)
      return {
        facts: [['Champion', champion?.version ?? '—']],
        consequence:
          'Trains a challenger on the data known now. It is released only if it passes the offline gates; approvals and stages apply as in the model file.',
        choices: [{ value: 'retrain', word: 'Start the retraining' }],
      }
    },
    async run({ deps, actor, model }, { id, reason }) {
      const input = { model, ...(reason !== '' && { reason }) }
      const outcome = await runOrDefer(deps, startRetraining, actor, input, { id })
      return 'deferred' in outcome
        ? { status: 202, title: 'Queued', message: `The retraining is ${outcome.deferred.message}.` }
        : { location: retrainingHref(outcome.result.id) }
    },
  },
  drill: {
    reason: 'none',
    async ask({ deps, model }) {
      const champion = await findChampion(deps.store, model)
      return {
        facts: [['Champion', champion?.version ?? '—']],
        consequence:
          'Rehearses a rollback with a deliberately faulty candidate that is never promoted. Traffic and harm budget are those of the model file; copies of requests without one.',
        choices: [
          { value: 'policy', word: 'As in the model file', does: 'The kinds that the drill policy names.' },
          ...drillKindNames.map((kind) => ({
            value: kind,
            word: sentenceCase(kind),
            does: drillKinds[kind],
            look: 'second' as const,
          })),
        ],
        refusal: champion === undefined ? `${model} has no champion to make a candidate from.` : undefined,
      }
    },
    async run({ deps, actor, model }, { id, choice }) {
      const kinds = choice === 'policy' ? undefined : [checkInput(z.enum(drillKindNames), choice, 'the form')]
      await startDrill(deps, actor, { model, changes: {}, ...(kinds && { kinds }) }, { id })
      return { location: listHref('/drills', { model }) }
    },
  },
}

/** Links to the actions that this user may take. */
export const ModelActions = ({ model, actor }: { model: string; actor: Actor }): PageElement => {
  const offered = modelActionNames.filter((name) => modelActions[name].allow.includes(actor.role))
  return offered.length === 0 ? (
    <></>
  ) : (
    <nav class="actions" aria-label={`Actions on ${model}`}>
      {offered.map((name) => (
        <a class="button second" href={`${modelHref(model)}/${name}`}>
          {modelActions[name].word}…
        </a>
      ))}
    </nav>
  )
}

export const actionPage = (name: ModelActionName): AnyPage => {
  const { ask, reason } = actions[name]
  const { word } = modelActions[name]
  return definePage({
    async load(deps, { actor, params }) {
      const { name: model } = await getModel(deps.store, params['name']!)
      return { model, ...(await ask({ deps, actor, model })) }
    },
    title: ({ model }) => `${word}: ${model}`,
    view: ({ model, facts, consequence, shown = {}, choices, refusal }, { token }) => (
      <>
        <ModelCrumbs model={model} />
        <h1>
          {word}: {model}
        </h1>
        <section class="card" aria-label={word}>
          <Facts facts={facts} />
          {refusal !== undefined || token === undefined ? (
            <p class="notice warn">{withCode(refusal ?? 'Sign in to do this: this key has no session.')}</p>
          ) : (
            <form method="post" action={`${modelHref(model)}/${name}`} aria-label={word}>
              <p>{consequence}</p>
              <TokenField token={token} />
              <input type="hidden" name="once" value={randomUUID()} />
              {Object.entries(shown).map(([field, value]) => (
                <input type="hidden" name={field} value={value} />
              ))}
              {reason !== 'none' && (
                <>
                  <label for="reason">
                    Reason{' '}
                    <span id="reason-hint" class="hint">
                      {reason === 'required' ? 'logged with your name' : 'optional, logged with your name'}
                    </span>
                  </label>
                  <textarea
                    id="reason"
                    name="reason"
                    rows={2}
                    required={reason === 'required'}
                    maxlength={2_000}
                    aria-describedby="reason-hint"
                  ></textarea>
                </>
              )}
              <div class="choices">
                {choices.map(({ value, word: choice, does, look }) => (
                  <div>
                    <button
                      name="choice"
                      value={value}
                      class={look}
                      aria-describedby={does && `does-${value}`}
                    >
                      {choice}
                    </button>
                    {does !== undefined && (
                      <span id={`does-${value}`} class="quiet small">
                        {does}
                      </span>
                    )}
                  </div>
                ))}
              </div>
            </form>
          )}
        </section>
      </>
    ),
  })
}

export const submitAction =
  (name: ModelActionName): FormHandler =>
  async (deps, { actor, body, params, session }, places) => {
    const { run, reason } = actions[name]
    const { name: model } = await getModel(deps.store, params['name']!)
    const form = checkInput(sent, body, 'the form')
    const typed = reason === 'required' ? writtenReason : formReason
    const written = checkInput(z.object({ reason: typed }), form, 'the form').reason ?? ''
    const id = `${actor!.id}/${name}/${form.once}`
    const done = await run({ deps, actor: actor!, model }, { ...form, reason: written, id })
    if ('location' in done) return { status: 303, headers: { ...pageHeaders, location: done.location } }
    const children = (
      <section class="card narrow" aria-label={done.title}>
        <h1>{done.title}</h1>
        <p>{done.message}</p>
        <p>
          <a class="button" href={modelHref(model)}>
            View {model}
          </a>
        </p>
      </section>
    )
    const frame = { actor: actor!, nav: navOf(places, actor!), token: session?.token }
    const text = await pageText({ title: done.title, path: '/models', ...frame, children })
    return { status: done.status ?? 200, text, type: html, headers: pageHeaders }
  }
