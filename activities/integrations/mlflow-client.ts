/** Sends requests to MLflow and builds its filters. */
import type { Database } from '../../store/postgres.ts'
import type { Mirror } from '../../temporal.config.ts'
import { sendRequest } from './http-request.ts'

export interface MlflowDeps {
  store: Database
  mirror: Mirror
}

export const api = '/api/2.0/mlflow'
export const post = <T>(mirror: Mirror, path: string, body: object): Promise<T> =>
  sendRequest<T>(mirror, { method: 'POST', path: `${api}/${path}`, body })

export interface Tag {
  key: string
  value: string
}

export const tagsOf = (values: Record<string, string | undefined>): Tag[] =>
  Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key: `tenure.${key}`, value }],
  )

/** MLflow filter strings are single-quoted and have no escape; the ids and names here contain no quotes. */
export const quoted = (text: string): string => `'${text.replaceAll("'", '')}'`
