/** Links to the pages of models, versions, releases and retrainings. */
import type { PageElement } from '../page.ts'

export const modelHref = (model: string): string => `/models/${encodeURIComponent(model)}`

export const versionHref = ({ model, version }: { model: string; version: string }): string =>
  `${modelHref(model)}/versions/${encodeURIComponent(version)}`

/** The page of a snapshot, as the model used it. */
export const snapshotHref = ({ digest, model }: { digest: string; model: string }): string =>
  `/data/${encodeURIComponent(digest)}?model=${encodeURIComponent(model)}`

export const retrainingHref = (id: string): string => `/retrainings/${encodeURIComponent(id)}`

export const ModelLink = ({ model, about }: { model: string; about?: string | undefined }): PageElement => (
  <a class="name" href={modelHref(model)} title={about}>
    {model}
  </a>
)

/** Links to a release; a dash without one. */
export const ReleaseLink = ({ id }: { id: string | undefined }): PageElement =>
  id === undefined ? <>—</> : <a href={`/releases/${encodeURIComponent(id)}`}>View release</a>

type Crumb = readonly [href: string, name: string]

/** Links to the pages above this one, the nearest last. */
export const Crumbs = ({ to }: { to: readonly (Crumb | false)[] }): PageElement => (
  <p class="crumbs">
    {to
      .filter((crumb) => crumb !== false)
      .map(([href, name], i) => (
        <>
          {i > 0 && ' › '}
          <a href={href}>{name}</a>
        </>
      ))}
  </p>
)

export const ModelCrumbs = ({ model }: { model: string }): PageElement => (
  <Crumbs
    to={[
      ['/models', 'Models'],
      [modelHref(model), model],
    ]}
  />
)

/** Explains how a model gets its first version, or links to the retraining that makes it. */
export const FirstVersion = ({
  model,
  isBrought,
  running,
}: {
  model: string
  isBrought: boolean
  running?: string | undefined
}): PageElement =>
  running !== undefined ? (
    <a href={retrainingHref(running)}>A version is being trained</a>
  ) : isBrought ? (
    <>
      Bring the first: <code>tenure versions register {model} --artifact FILE</code>
    </>
  ) : (
    <>
      Train the first: <code>tenure retrain {model}</code>
    </>
  )
