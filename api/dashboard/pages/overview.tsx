/** Every model at a glance. */
import { listModels } from '../../../store/models.ts'
import { visible } from '../../scope.ts'
import { page } from '../declare.ts'
import { Live, Table } from '../parts.tsx'

export const overview = page({
  async load({ store }, { actor }) {
    return { models: visible(actor, await listModels(store), ({ name }) => name) }
  },
  title: () => 'Tenure',
  view: ({ models }, { target }) => (
    <>
      <h1>Overview</h1>
      <Live id="models" target={target}>
        <Table
          caption="Models"
          rows={models}
          columns={[
            { head: 'Model', names: true, cell: ({ name }) => <a href={`/models/${name}`}>{name}</a> },
          ]}
          empty="There is no model yet."
        />
      </Live>
    </>
  ),
})
