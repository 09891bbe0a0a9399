-- Conversations and their finished turns. A turn is one question with its whole answer; there are no halves.

create table conversations (
    -- UUID version 7: ordering by id is ordering by creation.
    id          uuid        primary key,
    tenant_id   text        not null,
    subject     text        not null,
    title       text        not null,
    -- Finished turns, which is also the number of the newest one.
    turns       bigint      not null check (turns >= 0),
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now()
);

create index conversations_by_owner on conversations (tenant_id, subject, id desc);
create index conversations_by_age on conversations (updated_at);

create table turns (
    conversation_id   uuid        not null references conversations (id) on delete cascade,
    -- Contiguous from 1 within a conversation.
    number            bigint      not null check (number > 0),
    tenant_id         text        not null,
    subject           text        not null,
    question          text        not null,
    answer            text        not null,
    model             text        not null,
    -- `stop` or `length`, as the model reported it.
    finish_reason     text        not null,
    prompt_tokens     bigint      not null,
    completion_tokens bigint      not null,
    asked_at          timestamptz not null,
    answered_at       timestamptz not null default now(),
    primary key (conversation_id, number)
);

-- The service's login may use the tables and nothing else; development databases may lack the role.
do $$
begin
    if exists (select from pg_roles where rolname = 'backend') then
        grant usage on schema backend to backend;
        grant select, insert, update, delete on conversations, turns to backend;
        -- Start-up verifies that the schema is the one this binary was built for.
        grant select on all tables in schema backend to backend;
    end if;
end
$$;
