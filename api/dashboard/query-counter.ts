/** Counts the statements that a page runs. */
import type { Database, Store } from '../../store/postgres.ts'

export interface CountedStore {
  store: Store
  statements(): number
}

export function countStatements(store: Store): CountedStore {
  let count = 0
  const counting = (database: Database): Database => ({
    query: (statement) => {
      count++
      return database.query(statement)
    },
  })
  return {
    store: {
      ...store,
      ...counting(store),
      transaction: (work) => store.transaction((database) => work(counting(database))),
    },
    statements: () => count,
  }
}
